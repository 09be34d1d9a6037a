"""What the decorator and the coordinator can be told, checked at once and frozen.

An option that is out of range, misspelt, or at odds with another one is refused where it is
written down, not when the first token trips over it.

(Structs rather than dataclasses, which would cost each core process some 10 ms of its start.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

from tokengate_mp.seeds import Lead, lead

Weight = Literal["light", "medium", "heavy"]
Routing = Literal["strict", "work_conserving"]
OnFull = Literal["wait", "reject"]

WEIGHTS: Final[tuple[Weight, ...]] = get_args(Weight)
ROUTINGS: Final[tuple[Routing, ...]] = get_args(Routing)
ON_FULL: Final[tuple[OnFull, ...]] = get_args(OnFull)
RESERVED_TAGS: Final = ("weight", "sticky_anchor", "external_calls", "digest_policy")

MAX_THREADS_PER_CORE: Final = 256
"""Each crew thread has a word of its own on the status page of its core's mailbox."""

MAX_PENDING: Final = 1 << 24
"""How many tokens may be pending where nothing else is said: 16,777,216, some 8 GB of them."""

MIN_RING_BYTES: Final = 1 << 12
MAX_RING_BYTES: Final = 1 << 30
"""Ring positions are counted modulo 2**32: a ring must be well below half of that."""


class Policy(msgspec.Struct, frozen=True):
    """What is done about tokens that take too long or fail.

    Attributes:
        timeout_ns: How long after its call a token must have ended, ns; None for no limit.
        retries: How often a failed token is run again.
        retry_on: The types of errors after which it is.
        backoff_ns: Pause before the first further run, ns; it doubles with each.
        idempotent: Whether a token may be run again when its core process died under it.
        lead: What makes it the lead of a chain; None if it is none.
    """

    timeout_ns: int | None = None
    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    backoff_ns: int = 0
    idempotent: bool = False
    lead: Lead | None = None

    @property
    def acts(self) -> bool:
        """Whether it has anything to do."""
        limited = self.timeout_ns is not None
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
    """

    operation_type: str
    weight: Weight = "medium"
    tags: Mapping[str, Any] = MappingProxyType({})
    policy: Policy = _NO_POLICY
    sticky_anchor: str | None = None
    sticky_for: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.operation_type, self.weight, dict(self.tags), self.policy)
        return TokenOptions, (*fields, self.sticky_anchor, self.sticky_for)

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
    _check_anchor(operation_type, anchor, keep, options.get("external_calls"))
    policy = _policy(operation_type, options, _NO_POLICY)
    for name in options:
        if name not in _POLICY_OPTIONS:
            raise TypeError(f"{operation_type!r}: there is no option {name!r}")
    return TokenOptions(
        operation_type,
        _weight_from_name(operation_type) if chosen is None else _one_of("weight", chosen, WEIGHTS),
        MappingProxyType(own),
        policy,
        anchor,
        float(keep),
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
    if _seconds(f"{operation_type!r}: sticky_for", keep) and anchor is None:
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
            changes["timeout_ns"] = int(_seconds(f"{who}: timeout", timeout) * _NS)
            if not changes["timeout_ns"]:
                raise ValueError(f"{who}: timeout must be more than 0 seconds, not {timeout!r}")
    if "retries" in given:
        changes["retries"] = _whole(f"{who}: retries", given["retries"], 0, 1_000_000)
    if "retry_on" in given:
        changes["retry_on"] = _error_types(f"{who}: retry_on", given["retry_on"])
    if "backoff" in given:
        changes["backoff_ns"] = int(_seconds(f"{who}: backoff", given["backoff"]) * _NS)
    if "idempotent" in given:
        changes["idempotent"] = given["idempotent"]
        if not isinstance(changes["idempotent"], bool):
            raise TypeError(
                f"{who}: idempotent must be a bool, not {type(given['idempotent']).__name__}"
            )
    if "external_calls" in given or given.get("digest_policy") is not None:
        changes["lead"] = _lead(who, given)
    return msgspec.structs.replace(before, **changes)


def _lead(who: str, given: Mapping[str, Any]) -> Lead | None:
    return lead(who, given.get("external_calls"), given.get("digest_policy"))


def _seconds(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{option} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{option} must be a number of seconds from 0 up, not {value!r}")
    return float(value)


def _error_types(option: str, value: Any) -> tuple[type[BaseException], ...]:
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"{option} must be exception types, not {kind!r}")
    return kinds


def _weight_from_name(operation_type: str) -> Weight:
    name = operation_type.lower()
    if "heavy" in name:
        return "heavy"
    return "light" if "light" in name else "medium"


def _one_of(option: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        listed = ", ".join(repr(each) for each in allowed)
        raise ValueError(f"{option} must be one of {listed}, not {value!r}")
    return value


class CoordinatorSettings(msgspec.Struct, frozen=True):
    """How one coordinator is set up.

    Attributes:
        cpus: The CPU of each core domain, core 1 first.
        threads_per_core: Crew threads in each core process.
        routing: Whether a core may borrow work from outside its weight ranges.
        ring_bytes: Size of each of a core's two rings, a power of two.
        grace: Seconds that core processes and interrupted functions get to end by themselves.
        poison_limit: A token that has ended so many core processes is not run again.
        max_pending: How many tokens may be pending.
        max_pending_bytes: How many bytes of large arguments may be pending.
        on_full: What becomes of a call beyond that.
        initializer: Descriptor of what each core process runs first (see `worker.initializer`);
            None for nothing.
    """

    cpus: tuple[int, ...]
    threads_per_core: int
    routing: Routing
    ring_bytes: int
    grace: float
    poison_limit: int
    max_pending: int
    max_pending_bytes: int
    on_full: OnFull
    initializer: int | None = None


def coordinator_settings(  # noqa: PLR0913 - one parameter for each public option
    cores: int | Iterable[int] | None,
    usable: Iterable[int],
    *,
    threads_per_core: int,
    routing: str,
    ring_bytes: int,
    grace: float,
    poison_limit: int = 2,
    max_pending: int = MAX_PENDING,
    max_pending_bytes: int = MAX_RING_BYTES,
    on_full: str = "wait",
) -> CoordinatorSettings:
    """The settings of one coordinator, every value checked against this machine.

    Args:
        cores: As for `OperationsCoordinator`.
        usable: CPU numbers that this process may use.
        threads_per_core: As for `OperationsCoordinator`.
        routing: As for `OperationsCoordinator`.
        ring_bytes: As for `OperationsCoordinator`.
        grace: As for `OperationsCoordinator`.
        poison_limit: As for `OperationsCoordinator`.
        max_pending: As for `OperationsCoordinator`.
        max_pending_bytes: As for `OperationsCoordinator`.
        on_full: As for `OperationsCoordinator`.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A value is out of range, or names a CPU that this process may not use.
    """
    threads = _whole("threads_per_core", threads_per_core, 1, MAX_THREADS_PER_CORE)
    ring = _whole("ring_bytes", ring_bytes, MIN_RING_BYTES, MAX_RING_BYTES)
    if ring & (ring - 1):
        raise ValueError(f"ring_bytes must be a power of two, not {ring}")
    return CoordinatorSettings(
        cpus=_cpus(cores, tuple(usable)),
        threads_per_core=threads,
        routing=_one_of("routing", routing, ROUTINGS),
        ring_bytes=ring,
        grace=_seconds("grace", grace),
        poison_limit=_whole("poison_limit", poison_limit, 1, 1_000_000),
        max_pending=_whole("max_pending", max_pending, 1, 1 << 62),
        max_pending_bytes=_whole("max_pending_bytes", max_pending_bytes, 1, 1 << 62),
        on_full=_one_of("on_full", on_full, ON_FULL),
    )


def _whole(option: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{option} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{option} must be from {low} to {high}, not {value}")
    return value


def _cpus(cores: int | Iterable[int] | None, usable: tuple[int, ...]) -> tuple[int, ...]:
    if cores is None:
        return usable
    if isinstance(cores, int):
        count = _whole("cores", cores, 1, 4096)
        return tuple(usable[i % len(usable)] for i in range(count))
    if isinstance(cores, (str, bytes)) or not isinstance(cores, Iterable):
        raise TypeError(
            "cores must be a count or a list of CPU numbers, not " + type(cores).__name__
        )
    chosen = tuple(cores)
    if not chosen:
        raise ValueError("cores is an empty list: name at least one CPU, or leave it out")
    for cpu in chosen:
        if isinstance(cpu, bool) or not isinstance(cpu, int):
            raise TypeError(f"cores must list CPU numbers, not {type(cpu).__name__}")
        if cpu not in usable:
            raise ValueError(
                f"cores names CPU {cpu}, which this process may not use; "
                f"it may use {', '.join(map(str, usable))}"
            )
    return chosen
