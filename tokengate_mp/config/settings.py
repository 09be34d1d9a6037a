"""The settings of a coordinator, checked at once against this machine and frozen.

Checks and defaults stand in the table `SETTINGS`. Signatures of coordinators and executors are
written out, for type checkers and readers; a test compares them with the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

from tokengate_mp.config.checks import one_of, optional, seconds, text, truth, whole
from tokengate_mp.config.limits import MAX_THREADS_PER_CORE
from tokengate_mp.config.memory import memory

Routing = Literal["strict", "work_conserving"]
OnFull = Literal["wait", "reject"]
Output = Literal["forward", "inherit"]

ROUTINGS: Final[tuple[Routing, ...]] = get_args(Routing)
ON_FULL: Final[tuple[OnFull, ...]] = get_args(OnFull)
OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)

MAX_PENDING: Final = 1 << 24
"""How many tokens may be pending where nothing else is said: 16,777,216, some 8 GB of them."""

MIN_RING_BYTES: Final = 1 << 12
MAX_RING_BYTES: Final = 1 << 30
"""Ring positions are counted modulo 2**32: a ring must be well below half of that."""

MAX_PENDING_BYTES: Final = 1 << 30
"""How many bytes of large arguments may be pending where nothing else is said."""

LEAST_RSS: Final = 1 << 23
"""A fresh interpreter with this package has more than that for itself, bytes: no limit is less."""

LEAST_MEMORY: Final = 1 << 27
"""With less than that, bytes, a core process could hardly do more than start."""

RESTART_LIMIT: Final = 10
RESTART_PERIOD: Final = 10.0
"""More processes of a core that end without progress within so many seconds: it is given up."""


class CoordinatorSettings(msgspec.Struct, frozen=True):
    """Settings of a coordinator.

    Attributes:
        cpus: The CPU of each core domain, core 1 first.
        threads_per_core: Crew threads in each core process.
        routing: Whether a core may borrow work from outside its weight ranges.
        ring_bytes: Size of each of a core's two rings, a power of two.
        grace: Seconds that core processes and interrupted functions get to end by themselves.
        poison_limit: A token that has ended so many core processes is not run again.
        max_pending: How many tokens may be pending.
        max_pending_bytes: How many bytes of large arguments may be pending.
        on_full: What becomes of a call beyond either limit.
        max_shared_bytes: How many bytes of large arguments and results may be in shared memory.
        output: Where what functions print goes.
        max_tokens_per_core: After how many tokens a core process is recycled; None for never.
        exact: Whether the process may be sent no more tokens than that; else it goes on until its
            successor takes over.
        max_rss: Memory that is a core process's own, in bytes, from which on the process is
            recycled; None for any.
        memory_limit: Bytes that a core process may have for itself; None for any number.
        pin: Whether each core process is kept on its CPU.
        writable: Whether large arguments and results are copied, so that they can be changed.
        restart_limit: How many processes of a core may end without progress within a period.
        restart_period: That period, seconds.
        label: A name for people.
        initializer: Descriptor of the file that each core process runs first (see
            `worker.run.initializer`); None for none.
        inherited: Descriptors that each core process is started with for the initializer.
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
    max_shared_bytes: int
    output: Output = "forward"
    max_tokens_per_core: int | None = None
    exact: bool = False
    max_rss: int | None = None
    memory_limit: int | None = None
    pin: bool = True
    writable: bool = False
    restart_limit: int = RESTART_LIMIT
    restart_period: float = RESTART_PERIOD
    label: str = ""
    initializer: int | None = None
    inherited: tuple[int, ...] = ()

    @property
    def pins(self) -> tuple[int | None, ...]:
        """The CPU that each core process is kept on; None for any."""
        return self.cpus if self.pin else (None,) * len(self.cpus)


class Setting(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        default: The value where nothing else is said.
        check: Takes the setting's name and a value; returns the value as it is kept, or raises.
    """

    default: Any
    check: Callable[[str, Any], Any]


def _within(low: int, high: int) -> Callable[[str, Any], int]:
    return lambda name, value: whole(name, value, low, high)


def _among(allowed: tuple[str, ...]) -> Callable[[str, Any], Any]:
    return lambda name, value: one_of(name, value, allowed)


def _ring_bytes(name: str, value: Any) -> int:
    size = whole(name, value, MIN_RING_BYTES, MAX_RING_BYTES)
    if size & (size - 1):
        raise ValueError(f"{name} must be a power of two, not {size}")
    return size


def _shared_bytes(name: str, value: Any) -> int:
    return memory() // 4 if value is None else whole(name, value, 0, 1 << 46)


def _memory_limit(name: str, value: Any) -> int:
    limit = whole(name, value, LEAST_MEMORY, _UNBOUNDED)
    if sys.platform != "linux":
        raise ValueError(f"{name} cannot be kept on {sys.platform}: leave it out (None)")
    return limit


def _period(name: str, value: Any) -> float:
    return seconds(name, value, zero=False)


_UNBOUNDED: Final = 1 << 62

SETTINGS: Final[Mapping[str, Setting]] = MappingProxyType(
    {
        "threads_per_core": Setting(4, _within(1, MAX_THREADS_PER_CORE)),
        "ring_bytes": Setting(1 << 20, _ring_bytes),
        "routing": Setting("work_conserving", _among(ROUTINGS)),
        "grace": Setting(2.0, seconds),
        "poison_limit": Setting(2, _within(1, 1_000_000)),
        "max_pending": Setting(MAX_PENDING, _within(1, _UNBOUNDED)),
        "max_pending_bytes": Setting(MAX_PENDING_BYTES, _within(1, _UNBOUNDED)),
        "on_full": Setting("wait", _among(ON_FULL)),
        "max_shared_bytes": Setting(None, _shared_bytes),
        "output": Setting("forward", _among(OUTPUTS)),
        "max_tokens_per_core": Setting(None, optional(_within(1, _UNBOUNDED))),
        "exact": Setting(False, truth),
        "max_rss": Setting(None, optional(_within(LEAST_RSS, _UNBOUNDED))),
        "memory_limit": Setting(None, optional(_memory_limit)),
        "pin": Setting(True, truth),
        "writable": Setting(False, truth),
        "restart_limit": Setting(RESTART_LIMIT, _within(0, 1_000_000)),
        "restart_period": Setting(RESTART_PERIOD, _period),
        "label": Setting("", text),
    }
)
"""All settings but the cores, in the order in which they are checked."""


def coordinator_settings(
    cores: int | Iterable[int] | None, usable: Iterable[int], **given: Any
) -> CoordinatorSettings:
    """Make the settings of a coordinator, every value checked against the machine.

    Args:
        cores: As for `OperationsCoordinator`.
        usable: CPU numbers that this process may use.
        given: Settings of the table; the others have their defaults.

    Raises:
        TypeError: A value has the wrong type, or there is no such setting.
        ValueError: A value is out of range, or names a CPU that this process may not use.
    """
    for name in given:
        if name not in SETTINGS:
            raise TypeError(f"there is no setting {name!r}")
    values = {
        name: setting.check(name, given.get(name, setting.default))
        for name, setting in SETTINGS.items()
    }
    return CoordinatorSettings(cpus=_cpus(cores, tuple(usable)), **values)


def _cpus(cores: int | Iterable[int] | None, usable: tuple[int, ...]) -> tuple[int, ...]:
    if cores is None:
        return usable
    if isinstance(cores, int):
        count = whole("cores", cores, 1, 4096)
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
