"""The table of the decorator's options: what each is called, how it is checked, where it goes.

An option that is out of range, misspelt, or at odds with another is refused where it is written
down, not when the first token trips over it. Checks, copies with other options and the reserved
tags are derived from the table; a test compares it with the signature of `task_token_guard`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from tokengate_mp.config.checks import one_of, optional, seconds, truth, whole
from tokengate_mp.config.circuit_breaker import CircuitBreaker
from tokengate_mp.config.options import NO_POLICY, WEIGHTS, Policy, TokenOptions, Weight
from tokengate_mp.config.seeds import lead

Check = Callable[[str, Any], Any]
"""Takes the option's label and value; returns the value as it is kept, or raises."""


class Option(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        name: The option's name.
        default: The value where the decorator is not given any.
        check: Checks a value.
        part: The struct that the option goes to: "options" for `TokenOptions`, "policy" for
            `Policy`, or "lead" for what is made of the options of a chain's lead together.
        field: The field of that struct.
        is_tag: Whether the option can be given as a tag too.
    """

    name: str
    default: Any
    check: Check
    part: Literal["options", "policy", "lead"]
    field: str
    is_tag: bool = False


_NS: Final = 1_000_000_000


def _weight(_label: str, value: Any) -> Any:
    return one_of("weight", value, WEIGHTS)


def _timeout(label: str, value: Any) -> int:
    return max(1, int(seconds(label, value, zero=False) * _NS))


def _retries(label: str, value: Any) -> int:
    return whole(label, value, 0, 1_000_000)


def _retry_on(label: str, value: Any) -> tuple[type[BaseException], ...]:
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{label} must be an exception type or a tuple of them, not {kind!r}")
    return kinds


def _backoff(label: str, value: Any) -> int:
    return int(seconds(label, value) * _NS)


def _text(label: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{label} must be a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{label} must not be empty")
    return value


def _max_running(label: str, value: Any) -> int:
    return whole(label, value, 1, 1 << 62)


def _breaker(label: str, value: Any) -> CircuitBreaker:
    if not isinstance(value, CircuitBreaker):
        raise TypeError(f"{label} must be a CircuitBreaker or None, not {type(value).__name__}")
    return value


def _of_lead(_label: str, value: Any) -> Any:
    return value  # the two are checked together: see `_lead`


OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        option.name: option
        for option in (
            Option("writable", False, truth, "options", "writable"),
            Option("sticky_anchor", None, optional(_text), "options", "sticky_anchor", is_tag=True),
            Option("sticky_for", 0.0, seconds, "options", "sticky_for"),
            Option("context", False, truth, "options", "context"),
            Option("timeout", None, optional(_timeout), "policy", "timeout_ns"),
            Option("retries", 0, _retries, "policy", "retries"),
            Option("retry_on", (Exception,), _retry_on, "policy", "retry_on"),
            Option("backoff", 0.0, _backoff, "policy", "backoff_ns"),
            Option("idempotent", False, truth, "policy", "idempotent"),
            Option("external_calls", None, _of_lead, "lead", "external_calls", is_tag=True),
            Option("digest_policy", None, _of_lead, "lead", "digest_policy", is_tag=True),
            Option("max_running", None, optional(_max_running), "policy", "max_running"),
            Option("breaker", None, optional(_breaker), "policy", "breaker"),
            Option("exclusive", False, truth, "policy", "exclusive"),
            Option("weight", None, optional(_weight), "options", "weight", is_tag=True),
        )
    }
)
"""All options by name, in the order in which they are checked."""

RESERVED_TAGS: Final = tuple(option.name for option in OPTIONS.values() if option.is_tag)


def token_options(
    operation_type: str, tags: Mapping[str, Any] | None = None, **given: Any
) -> TokenOptions:
    """Make the options of a decoration, every value checked.

    Args:
        operation_type: The operation's name; "heavy" or "light" in it sets the weight when
            nothing else does.
        tags: User tags; the reserved tags among them are options.
        given: The remaining options of `task_token_guard`.

    Raises:
        TypeError: A value has the wrong type, or there is no such option.
        ValueError: A value is not allowed, or a tag and a keyword disagree.
    """
    _check_name(operation_type)
    options, own = _without_reserved(operation_type, tags, given)
    fields = _checked(operation_type, options)
    kept = fields["options"]
    if kept.get("weight") is None:
        kept["weight"] = _weight_from_name(operation_type)
    policy = _policy(operation_type, options, fields, NO_POLICY)
    return _whole(TokenOptions(operation_type, tags=own, policy=policy, **kept))


def changed_options(before: TokenOptions, overrides: Mapping[str, Any]) -> TokenOptions:
    """Make a copy of options with others in place of some.

    Args:
        before: The options to begin with.
        overrides: Options of `task_token_guard`.

    Raises:
        TypeError: A value has the wrong type, or there is no such option.
        ValueError: A value is not allowed.
    """
    given = dict(overrides)
    name = given.pop("operation_type", None)
    tags = given.pop("tags", None)
    operation_type = before.operation_type if name is None else name
    _check_name(operation_type)
    options, own = _without_reserved(operation_type, tags, given)
    fields = _checked(operation_type, options)
    kept = fields["options"]
    if kept.get("weight") is None:
        kept["weight"] = before.weight
    if not kept.get("sticky_anchor", before.sticky_anchor):
        kept.setdefault("sticky_for", 0.0)  # without an anchor there is nothing to keep for
    policy = _policy(operation_type, options, fields, before.policy)
    return _whole(
        msgspec.structs.replace(
            before,
            operation_type=operation_type,
            tags=before.tags if tags is None else own,
            policy=policy,
            **kept,
        )
    )


def _check_name(operation_type: Any) -> None:
    if not isinstance(operation_type, str):
        raise TypeError(f"operation_type must be a str, not {type(operation_type).__name__}")
    if not operation_type:
        raise ValueError("operation_type must not be empty")


def _without_reserved(
    operation_type: str, tags: Any, given: Mapping[str, Any]
) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Split tags: options with the reserved tags, and the user's own tags."""
    if tags is not None and not isinstance(tags, Mapping):
        raise TypeError(f"tags must be a mapping, not {type(tags).__name__}")
    options, own = dict(given), dict[str, Any]()
    for tag, value in (tags or {}).items():
        if tag not in RESERVED_TAGS:
            own[tag] = value
        elif options.get(tag) not in (None, value):
            raise ValueError(
                f"{operation_type!r}: tag {tag!r} says {value!r} and keyword {tag} says "
                f"{options[tag]!r}; give it once"
            )
        else:
            options[tag] = value
    return options, MappingProxyType(own)


def _checked(operation_type: str, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Check the given options; their values by struct and field."""
    fields: dict[str, dict[str, Any]] = {"options": {}, "policy": {}, "lead": {}}
    for option in OPTIONS.values():
        if option.name in given:
            label = f"{operation_type!r}: {option.name}"
            fields[option.part][option.field] = option.check(label, given[option.name])
    for name in given:
        if name not in OPTIONS:
            raise TypeError(f"{operation_type!r}: there is no option {name!r}")
    return fields


def _policy(
    operation_type: str,
    given: Mapping[str, Any],
    fields: Mapping[str, Mapping[str, Any]],
    before: Policy,
) -> Policy:
    changes = dict(fields["policy"])
    if "external_calls" in given or given.get("digest_policy") is not None:
        changes["lead"] = _lead(operation_type, given)
    return msgspec.structs.replace(before, **changes)


def _lead(operation_type: str, given: Mapping[str, Any]) -> Any:
    return lead(repr(operation_type), given.get("external_calls"), given.get("digest_policy"))


def _whole(options: TokenOptions) -> TokenOptions:
    """Check options that go together, and return all.

    Raises:
        ValueError: Two options are at odds.
    """
    anchor = options.sticky_anchor
    if options.sticky_for and anchor is None:
        raise ValueError(
            f"{options.operation_type!r}: sticky_for says how long a pin is kept, and without "
            "sticky_anchor there is none"
        )
    if anchor is not None and options.policy.lead is not None:
        raise ValueError(
            f"{options.operation_type!r}: sticky_anchor and external_calls both say which core a "
            "token goes to; give one of them"
        )
    return options


def _weight_from_name(operation_type: str) -> Weight:
    name = operation_type.lower()
    if "heavy" in name:
        return "heavy"
    return "light" if "light" in name else "medium"
