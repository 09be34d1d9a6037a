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

Weight = Literal["light", "medium", "heavy"]
Routing = Literal["strict", "work_conserving"]

WEIGHTS: Final[tuple[Weight, ...]] = get_args(Weight)
ROUTINGS: Final[tuple[Routing, ...]] = get_args(Routing)
RESERVED_TAGS: Final = ("weight", "sticky_anchor", "external_calls", "digest_policy")

MAX_THREADS_PER_CORE: Final = 256
"""Each crew thread has a word of its own on the status page of its core's mailbox."""

MIN_RING_BYTES: Final = 1 << 12
MAX_RING_BYTES: Final = 1 << 30
"""Ring positions are counted modulo 2**32: a ring must be well below half of that."""

_NOT_BUILT: Final = MappingProxyType(
    {
        "timeout": None,
        "retries": 0,
        "retry_on": (Exception,),
        "backoff": 0.0,
        "idempotent": False,
        "sticky_anchor": None,
        "external_calls": None,
        "digest_policy": None,
    }
)
"""Options whose behaviour this version lacks, with their defaults.

Ignoring one would be worse than refusing it: a job that relies on a timeout must not find out in
production that there is none.
"""


class TokenOptions(msgspec.Struct, frozen=True):
    """How the tokens of one decorated function are treated.

    Attributes:
        operation_type: Name under which the function's tokens are counted and controlled.
        weight: Weight class; decides which cores it prefers.
        tags: The user's own tags, for telemetry.
    """

    operation_type: str
    weight: Weight = "medium"
    tags: Mapping[str, Any] = MappingProxyType({})

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenOptions, (self.operation_type, self.weight, dict(self.tags))

    def changed(self, overrides: Mapping[str, Any]) -> TokenOptions:
        """A copy with the given decorator options in place of these.

        Raises:
            TypeError: An option of that name does not exist.
            ValueError: A value is not allowed.
            NotImplementedError: The option is not available in this version.
        """
        given = dict(overrides)
        operation_type = given.pop("operation_type", None)
        tags = given.pop("tags", None)
        fresh = token_options(
            self.operation_type if operation_type is None else operation_type, tags, **given
        )
        weight_given = given.get("weight") is not None or (tags and "weight" in tags)
        return msgspec.structs.replace(
            fresh,
            weight=fresh.weight if weight_given else self.weight,
            tags=fresh.tags if tags is not None else self.tags,
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
        NotImplementedError: The option is not available in this version.
    """
    if not isinstance(operation_type, str):
        raise TypeError(f"operation_type must be a str, not {type(operation_type).__name__}")
    if not operation_type:
        raise ValueError("operation_type must not be empty")
    if tags is not None and not isinstance(tags, Mapping):
        raise TypeError(f"tags must be a mapping, not {type(tags).__name__}")
    options: dict[str, Any] = {"weight": weight, **others}
    own: dict[str, Any] = {}
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
    chosen = options.pop("weight")
    for name, value in options.items():
        if name not in _NOT_BUILT:
            raise TypeError(f"{operation_type!r}: there is no option {name!r}")
        if value != _NOT_BUILT[name]:
            raise NotImplementedError(
                f"{operation_type!r}: option {name}={value!r} is not available in this version "
                "of tokengate_mp; leave it out"
            )
    return TokenOptions(
        operation_type,
        _weight_from_name(operation_type) if chosen is None else _one_of("weight", chosen, WEIGHTS),
        MappingProxyType(own),
    )


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
        grace: Seconds that `stop` gives core processes to end by themselves.
    """

    cpus: tuple[int, ...]
    threads_per_core: int
    routing: Routing
    ring_bytes: int
    grace: float


def coordinator_settings(  # noqa: PLR0913 - one parameter for each public option
    cores: int | Iterable[int] | None,
    usable: Iterable[int],
    *,
    threads_per_core: int,
    routing: str,
    ring_bytes: int,
    grace: float,
) -> CoordinatorSettings:
    """The settings of one coordinator, every value checked against this machine.

    Args:
        cores: As for `OperationsCoordinator`.
        usable: CPU numbers that this process may use.
        threads_per_core: As for `OperationsCoordinator`.
        routing: As for `OperationsCoordinator`.
        ring_bytes: As for `OperationsCoordinator`.
        grace: As for `OperationsCoordinator`.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A value is out of range, or names a CPU that this process may not use.
    """
    threads = _whole("threads_per_core", threads_per_core, 1, MAX_THREADS_PER_CORE)
    ring = _whole("ring_bytes", ring_bytes, MIN_RING_BYTES, MAX_RING_BYTES)
    if ring & (ring - 1):
        raise ValueError(f"ring_bytes must be a power of two, not {ring}")
    if isinstance(grace, bool) or not isinstance(grace, (int, float)):
        raise TypeError(f"grace must be a number of seconds, not {type(grace).__name__}")
    if not 0 <= grace < float("inf"):
        raise ValueError(f"grace must be a number of seconds from 0 up, not {grace!r}")
    return CoordinatorSettings(
        cpus=_cpus(cores, tuple(usable)),
        threads_per_core=threads,
        routing=_one_of("routing", routing, ROUTINGS),
        ring_bytes=ring,
        grace=float(grace),
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
