"""The concurrency burst: a few equal tokens at once, and a window of mixed releases.

The figures are TokenGate's: durations as the tokens' own clocks saw them, their sum as the estimate
of serial time, and that sum over the wall clock as the ratio. Such a ratio counts waiting for a CPU
as work, so each comes with a second one that cannot: CPU time used / time.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tokengate_mp.bench.demos.clocks import CpuMeter, core_pids
from tokengate_mp.bench.work.tokens import burst_token, mix_token

if TYPE_CHECKING:
    from tokengate_mp import OperationsCoordinator, Timing, Token

TOKENS: Final = 8
ROUNDS: Final = 100_000
"""SHA-256 rounds of one burst token: some 50 ms of work."""

RELEASE: Final = 64
"""Tokens of the mix that are released together in the window."""
RELEASES_PER_CORE: Final = 4
"""Releases kept under way for each core domain, so that none runs dry between two of them."""

_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Burst:
    """Figures of a burst; times in milliseconds."""

    tokens: int
    submit_spread: float
    """From the creation of the first token to that of the last."""
    wall: float
    """From before the first was made until all results were there."""
    shortest: float
    longest: float
    mean: float
    deviation: float
    """Standard deviation of the durations; 0 for a single token."""
    serial: float
    """The sum of the durations."""
    cpu: float
    """CPU time used by all processes, the parent's included."""

    @property
    def ratio(self) -> float:
        """Serial estimate over wall clock."""
        return self.serial / self.wall

    @property
    def cpu_ratio(self) -> float:
        """CPU time over wall clock."""
        return self.cpu / self.wall


def burst_figures(timings: Sequence[Timing], wall_ns: int, cpu_ns: int) -> Burst:
    """Work out the figures of a burst.

    Args:
        timings: The timing of each token; all of them have run to their end.
        wall_ns: Nanoseconds the whole burst took.
        cpu_ns: CPU nanoseconds used meanwhile.
    """
    durations = [duration_ns(timing) / _MS for timing in timings]
    created = [timing.created for timing in timings]
    return Burst(
        tokens=len(timings),
        submit_spread=(max(created) - min(created)) / _MS,
        wall=wall_ns / _MS,
        shortest=min(durations),
        longest=max(durations),
        mean=statistics.fmean(durations),
        deviation=statistics.stdev(durations) if len(durations) > 1 else 0.0,
        serial=sum(durations),
        cpu=cpu_ns / _MS,
    )


def duration_ns(timing: Timing) -> int:
    """Return the nanoseconds from a token's start to its finish; 0 for a token that never ran."""
    if timing.started is None or timing.finished is None:
        return 0
    return timing.finished - timing.started


async def run_burst(
    coordinator: OperationsCoordinator, tokens: int = TOKENS, rounds: int = ROUNDS
) -> Burst:
    """Release `tokens` equal tokens at once and wait until all have ended."""
    await asyncio.gather(*(burst_token(f"warm-up {i}", 1) for i in range(tokens)))
    meter = CpuMeter(core_pids(coordinator))
    begin = time.perf_counter_ns()
    made = [burst_token(f"burst {i}", rounds) for i in range(tokens)]
    await asyncio.gather(*made)
    wall = time.perf_counter_ns() - begin
    return burst_figures([token.timing for token in made], wall, meter.used_ns())


@dataclass(slots=True)
class Window:
    """Figures of a sustained window up to now; times in nanoseconds."""

    tokens: int = 0
    failed: int = 0
    elapsed: int = 0
    task: int = 0
    """The sum of the tokens' durations."""
    cpu: int = 0
    """CPU time used by all processes, the parent's included."""

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens * 1e9 / self.elapsed if self.elapsed else 0.0

    @property
    def ratio(self) -> float:
        """Sum of durations over time."""
        return self.task / self.elapsed if self.elapsed else 0.0

    @property
    def cpu_ratio(self) -> float:
        """CPU time over time."""
        return self.cpu / self.elapsed if self.elapsed else 0.0


async def run_window(
    coordinator: OperationsCoordinator,
    seconds: float,
    progress: Callable[[Window], None] = lambda _: None,
) -> Window:
    """Keep releasing tokens of the mix for `seconds`, then wait until all have ended.

    Several releases are under way at any time, and each is followed by another as soon as it has
    ended. `progress` is called after each with the figures up to then; the time includes the tail.
    """
    pids = core_pids(coordinator)
    window, meter = Window(), CpuMeter(pids)
    begin = time.perf_counter_ns()
    end = begin + int(seconds * 1e9)
    released = 0

    async def keep_releasing() -> None:
        nonlocal released
        while time.perf_counter_ns() < end:
            first, released = released, released + RELEASE
            tokens: list[Token[Any]] = [mix_token(i) for i in range(first, first + RELEASE)]
            results = await asyncio.gather(*tokens, return_exceptions=True)
            window.tokens += len(tokens)
            window.failed += sum(isinstance(result, BaseException) for result in results)
            window.task += sum(duration_ns(token.timing) for token in tokens)
            window.elapsed = time.perf_counter_ns() - begin
            window.cpu = meter.used_ns()
            progress(window)

    await asyncio.gather(*(keep_releasing() for _ in range(RELEASES_PER_CORE * len(pids))))
    return window
