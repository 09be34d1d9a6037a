"""What the decorator can be told, checked at once and frozen.

An option that is out of range, misspelt, or at odds with another one is refused where it is
written down, not when the first token trips over it.

(Structs rather than dataclasses, which would cost each core process some 10 ms of its start.)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

from tokengate_mp.config.checks import one_of, seconds, whole
from tokengate_mp.config.circuit_breaker import CircuitBreaker
from tokengate_mp.config.seeds import Lead, lead

Weight = Literal["light", "medium", "heavy"]

WEIGHTS: Final[tuple[Weight, ...]] = get_args(Weight)
RESERVED_TAGS: Final = ("weight", "sticky_anchor", "external_calls", "digest_policy")


class Policy(msgspec.Struct, frozen=True):
    """What is done about tokens that take too long or fail.

    Attributes:
        timeout_ns: How long after its call a token must have ended, ns; None for no limit.
        retries: How often a failed token is run again.
        retry_on: The types of errors after which it is.
        backoff_ns: Pause before the first further run, ns; it doubles with each.
        idempotent: Whether a token may be run again when its core process died under it.
        lead: What makes it the lead of a chain; None if it is none.
        max_running: How many tokens of the operation cores may hold at once; None for any number.
        breaker: When the operation takes no calls for a while; None: it always takes them.
        of: The operation that it is limited with, if not its own; None for its own.
    """

    timeout_ns: int | None = None
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    backoff_ns: int = 0
    idempotent: bool = False
    lead: Lead | None = None
    max_running: int | None = None
    breaker: CircuitBreaker | None = None
    of: str | None = None

    @property
    def acts(self) -> bool:
        """Whether it has anything to do."""
        limited = self.timeout_ns is not None or self.max_running is not None
        limited |= self.breaker is not None
        return limited or self.retries > 0 or self.idempotent or self.lead is not None


_NO_POLICY: Final = Policy()


class TokenOptions(msgspec.Struct, frozen=True):
    """How the tokens of one decorated function are treated.

    Attributes:
        operation_type: Name under which the function's tokens are counted and controlled.
        weight: Weight class; decides which cores it prefers.
        tags: The user's own tags, for telemetry.
        policy: What is done about those that take too long or fail.
        sticky_anchor: Tokens with this anchor and equal arguments run on one core; None: wherever
            there is room.
        sticky_for: Seconds for which they keep it after the last of them has ended.
        context: Whether they run with the context variables of whoever made them.
        writable: Whether large arguments are copied for the function, which may then change them.
    """

    operation_type: str
    weight: Weight = "medium"
    tags: Mapping[str, Any] = MappingProxyType({})
    policy: Policy = _NO_POLICY
    sticky_anchor: str | None = None
    sticky_for: float = 0.0
    context: bool = False
    writable: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.operation_type, self.weight, dict(self.tags), self.policy)
        further = (self.sticky_anchor, self.sticky_for, self.context, self.writable)
        return TokenOptions, (*fields, *further)

    def changed(self, overrides: Mapping[str, Any]) -> TokenOptions:
        """A copy with the given decorator options in place of these.

        Raises:
            TypeError: An option of that name does not exist.
            ValueError: A value is not allowed.
        """
        given = dict(overrides)
        operation_type = given.pop("operation_type", None)
        tags = given.pop("tags", None)
        if "sticky_anchor" not in {*given, *(tags or ())}:
            given["sticky_anchor"] = self.sticky_anchor
        if given.get("sticky_anchor") or "sticky_anchor" in (tags or ()):
            given.setdefault("sticky_for", self.sticky_for)
        given.setdefault("writable", self.writable)
        given.setdefault("context", self.context)
        fresh = token_options(
            self.operation_type if operation_type is None else operation_type, tags, **given
        )
        options = dict(given)
        _take_reserved(fresh.operation_type, tags or {}, options)
        policy = _policy(fresh.operation_type, options, self.policy)
        _check_anchor(fresh.operation_type, fresh.sticky_anchor, fresh.sticky_for, policy.lead)
        weight_given = given.get("weight") is not None or (tags and "weight" in tags)
        return msgspec.structs.replace(
            fresh,
            weight=fresh.weight if weight_given else self.weight,
            tags=fresh.tags if tags is not None else self.tags,
            policy=policy,
        )


def token_options(
    operation_type: str,
    tags: Mapping[str, Any] | None = None,
    *,
    weight: str | None = None,
    **others: Any,
) -> TokenOptions:
    """The options of one decoration, every value checked.

    Args:
        operation_type: The operation's name; "heavy" or "light" in it sets the weight when
            nothing else does.
        tags: User tags; the reserved ones among them are options.
        weight: Weight class.
        others: The remaining options of `task_token_guard`.

    Raises:
        TypeError: An argument has the wrong type, or no such option exists.
        ValueError: A value is not allowed, or a tag and a keyword disagree.
    """
    if not isinstance(operation_type, str):
        raise TypeError(f"operation_type must be a str, not {type(operation_type).__name__}")
    if not operation_type:
        raise ValueError("operation_type must not be empty")
    if tags is not None and not isinstance(tags, Mapping):
        raise TypeError(f"tags must be a mapping, not {type(tags).__name__}")
    options: dict[str, Any] = {"weight": weight, **others}
    own = _take_reserved(operation_type, tags or {}, options)
    chosen = options.pop("weight")
    anchor = options.pop("sticky_anchor", None)
    keep = options.pop("sticky_for", 0.0)
    writable = options.pop("writable", False)
    if not isinstance(writable, bool):
        raise TypeError(
            f"{operation_type!r}: writable must be a bool, not {type(writable).__name__}"
        )
    _check_anchor(operation_type, anchor, keep, options.get("external_calls"))
    context = options.pop("context", False)
    if not isinstance(context, bool):
        raise TypeError(f"{operation_type!r}: context must be a bool, not {type(context).__name__}")
    policy = _policy(operation_type, options, _NO_POLICY)
    for name in options:
        if name not in _POLICY_OPTIONS:
            raise TypeError(f"{operation_type!r}: there is no option {name!r}")
    return TokenOptions(
        operation_type,
        _weight_from_name(operation_type) if chosen is None else one_of("weight", chosen, WEIGHTS),
        MappingProxyType(own),
        policy,
        anchor,
        float(keep),
        context,
        writable,
    )


def _check_anchor(operation_type: str, anchor: Any, keep: Any, external_calls: Any) -> None:
    """Check the options of stickiness.

    Raises:
        TypeError: One has the wrong type.
        ValueError: One is not allowed, or not with the others.
    """
    if anchor is not None and not isinstance(anchor, str):
        raise TypeError(
            f"{operation_type!r}: sticky_anchor must be a str, not {type(anchor).__name__}"
        )
    if anchor == "":
        raise ValueError(f"{operation_type!r}: sticky_anchor must not be empty")
    if seconds(f"{operation_type!r}: sticky_for", keep) and anchor is None:
        raise ValueError(
            f"{operation_type!r}: sticky_for says how long a pin is kept, and without "
            "sticky_anchor there is none"
        )
    if anchor is not None and external_calls is not None:
        raise ValueError(
            f"{operation_type!r}: sticky_anchor and external_calls both say which core a token "
            "goes to; give one of them"
        )


def _take_reserved(
    operation_type: str, tags: Mapping[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """Add those tags that are options to `options`; the user's own are returned."""
    own: dict[str, Any] = {}
    for tag, value in tags.items():
        if tag not in RESERVED_TAGS:
            own[tag] = value
        elif options.get(tag) not in (None, value):
            raise ValueError(
                f"{operation_type!r}: tag {tag!r} says {value!r} and keyword {tag} says "
                f"{options[tag]!r}; give it once"
            )
        else:
            options[tag] = value
    return own


_POLICY_OPTIONS: Final = (
    "timeout",
    "retries",
    "retry_on",
    "backoff",
    "idempotent",
    "external_calls",
    "digest_policy",
    "max_running",
    "breaker",
)
_NS: Final = 1_000_000_000


def _policy(operation_type: str, given: Mapping[str, Any], before: Policy) -> Policy:
    """The policy that these options make of the one before."""
    changes: dict[str, Any] = {}
    who = repr(operation_type)
    if "timeout" in given:
        timeout = given["timeout"]
        changes["timeout_ns"] = None
        if timeout is not None:
            given_seconds = seconds(f"{who}: timeout", timeout, zero=False)
            changes["timeout_ns"] = max(1, int(given_seconds * _NS))
    if "retries" in given:
        changes["retries"] = whole(f"{who}: retries", given["retries"], 0, 1_000_000)
    if "retry_on" in given:
        changes["retry_on"] = _error_types(f"{who}: retry_on", given["retry_on"])
    if "backoff" in given:
        changes["backoff_ns"] = int(seconds(f"{who}: backoff", given["backoff"]) * _NS)
    if "idempotent" in given:
        changes["idempotent"] = given["idempotent"]
        if not isinstance(changes["idempotent"], bool):
            raise TypeError(
                f"{who}: idempotent must be a bool, not {type(given['idempotent']).__name__}"
            )
    if "external_calls" in given or given.get("digest_policy") is not None:
        changes["lead"] = _lead(who, given)
    return msgspec.structs.replace(before, **changes, **_protection(who, given))


def _protection(who: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is to be protected from too many calls."""
    changes: dict[str, Any] = {}
    if "max_running" in given:
        most = changes["max_running"] = given["max_running"]
        if most is not None:
            whole(f"{who}: max_running", most, 1, 1 << 62)
    if "breaker" in given:
        breaker = changes["breaker"] = given["breaker"]
        if breaker is not None and not isinstance(breaker, CircuitBreaker):
            raise TypeError(
                f"{who}: breaker must be a CircuitBreaker or None, not {type(breaker).__name__}"
            )
    return changes


def _lead(who: str, given: Mapping[str, Any]) -> Lead | None:
    return lead(who, given.get("external_calls"), given.get("digest_policy"))


def _error_types(option: str, value: Any) -> tuple[type[BaseException], ...]:
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{option} must be an exception type or a tuple of them, not {kind!r}")
    return kinds


def _weight_from_name(operation_type: str) -> Weight:
    name = operation_type.lower()
    if "heavy" in name:
        return "heavy"
    return "light" if "light" in name else "medium"
