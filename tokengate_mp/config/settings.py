"""What a coordinator can be told, checked at once against this machine and frozen."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec

from tokengate_mp.config.checks import one_of, seconds, whole

Routing = Literal["strict", "work_conserving"]
OnFull = Literal["wait", "reject"]
Output = Literal["forward", "inherit"]

ROUTINGS: Final[tuple[Routing, ...]] = get_args(Routing)
ON_FULL: Final[tuple[OnFull, ...]] = get_args(OnFull)
OUTPUTS: Final[tuple[Output, ...]] = get_args(Output)

MAX_THREADS_PER_CORE: Final = 256
"""Each crew thread has a word of its own on the status page of its core's mailbox."""

MAX_PENDING: Final = 1 << 24
"""How many tokens may be pending where nothing else is said: 16,777,216, some 8 GB of them."""

MIN_RING_BYTES: Final = 1 << 12
MAX_RING_BYTES: Final = 1 << 30
"""Ring positions are counted modulo 2**32: a ring must be well below half of that."""


LEAST_RSS: Final = 1 << 24
"""A fresh interpreter with this package takes more than that, bytes: less is no limit in bytes."""

RESTART_LIMIT: Final = 10
RESTART_PERIOD: Final = 10.0
"""How many processes of a core may end in vain within so many seconds, before it is given up."""


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
        max_shared_bytes: How many bytes of large arguments and results may be in shared memory.
        output: Where what functions print goes.
        max_tokens_per_core: After how many tokens a core process is recycled; None for never.
        exact: Whether it may be sent no more than that; else it goes on until it is relieved.
        max_rss: From what resident set on, in bytes, a core process is recycled; None for any.
        restart_limit: How many processes of a core may end in vain within a period.
        restart_period: That period, seconds.
        initializer: Descriptor of what each core process runs first (see `worker.run.initializer`);
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
    max_shared_bytes: int
    output: Output = "forward"
    max_tokens_per_core: int | None = None
    exact: bool = False
    max_rss: int | None = None
    restart_limit: int = RESTART_LIMIT
    restart_period: float = RESTART_PERIOD
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
    max_shared_bytes: int | None = None,
    output: str = "forward",
    max_tokens_per_core: int | None = None,
    exact: bool = False,
    max_rss: int | None = None,
    restart_limit: int = RESTART_LIMIT,
    restart_period: float = RESTART_PERIOD,
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
        max_shared_bytes: As for `OperationsCoordinator`.
        output: As for `OperationsCoordinator`.
        max_tokens_per_core: As for `OperationsCoordinator`.
        exact: Whether no process may be sent more than that.
        max_rss: As for `OperationsCoordinator`.
        restart_limit: As for `OperationsCoordinator`.
        restart_period: As for `OperationsCoordinator`.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: A value is out of range, or names a CPU that this process may not use.
    """
    threads = whole("threads_per_core", threads_per_core, 1, MAX_THREADS_PER_CORE)
    ring = whole("ring_bytes", ring_bytes, MIN_RING_BYTES, MAX_RING_BYTES)
    if ring & (ring - 1):
        raise ValueError(f"ring_bytes must be a power of two, not {ring}")
    return CoordinatorSettings(
        cpus=_cpus(cores, tuple(usable)),
        threads_per_core=threads,
        routing=one_of("routing", routing, ROUTINGS),
        ring_bytes=ring,
        grace=seconds("grace", grace),
        poison_limit=whole("poison_limit", poison_limit, 1, 1_000_000),
        max_pending=whole("max_pending", max_pending, 1, 1 << 62),
        max_pending_bytes=whole("max_pending_bytes", max_pending_bytes, 1, 1 << 62),
        on_full=one_of("on_full", on_full, ON_FULL),
        max_shared_bytes=(
            memory() // 4
            if max_shared_bytes is None
            else whole("max_shared_bytes", max_shared_bytes, 0, 1 << 46)
        ),
        output=one_of("output", output, OUTPUTS),
        max_tokens_per_core=_or_none("max_tokens_per_core", max_tokens_per_core, 1),
        exact=exact,
        max_rss=_or_none("max_rss", max_rss, LEAST_RSS),
        restart_limit=whole("restart_limit", restart_limit, 0, 1_000_000),
        restart_period=seconds("restart_period", restart_period, zero=False),
    )


def memory() -> int:
    """How many bytes of memory this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _or_none(option: str, value: int | None, low: int) -> int | None:
    return None if value is None else whole(option, value, low, 1 << 62)


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
