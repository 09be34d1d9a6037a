"""Doubling waves of the mix, and the columns of their table.

TokenGate took its time from after the submission, and its overlap counted time spent waiting for
the GIL. Here time begins before the first token is made, and a column of its own says how much CPU
time was used in it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tokengate_mp.bench.demos.burst import duration_ns
from tokengate_mp.bench.demos.clocks import CpuMeter, core_pids
from tokengate_mp.bench.work.tokens import mix_token

if TYPE_CHECKING:
    from tokengate_mp import OperationsCoordinator

WAVES: Final = 15
FIRST_SIZE: Final = 4
WARM_UP: Final = 256

COLUMNS: Final = (
    "Wave",
    "Tokens",
    "OK",
    "Fail",
    "Time",
    "Tok/s",
    "Lat(ms)",
    "Conc",
    "Overlap",
    "ΣTask(ms)",
    "ΣCPU/t",
)


@dataclass(frozen=True, slots=True)
class Wave:
    """Figures of a wave; times in nanoseconds."""

    number: int
    """Counted from 1."""
    tokens: int
    failed: int
    elapsed: int
    """From before the first token is made until all results are there."""
    task: int
    """The sum of finished - started over its tokens."""
    cpu: int
    """CPU time used by all processes, the parent's included."""

    @property
    def succeeded(self) -> int:
        """Tokens that gave a result."""
        return self.tokens - self.failed

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens * 1e9 / self.elapsed

    @property
    def latency(self) -> float:
        """Milliseconds per token: the time over the number of tokens."""
        return self.elapsed / self.tokens / 1e6

    @property
    def overlap(self) -> float:
        """How many tokens were under way at a time, on average."""
        return self.task / self.elapsed

    @property
    def cpu_ratio(self) -> float:
        """How many CPUs were at work, on average."""
        return self.cpu / self.elapsed

    def concurrency(self, first: Wave) -> float:
        """Return how many times lower the latency is than that of the `first` wave."""
        return first.latency / self.latency

    def cells(self, first: Wave) -> tuple[str, ...]:
        """Return the wave's line of the table, a text for each of `COLUMNS`."""
        return (
            str(self.number),
            f"{self.tokens:,}",
            f"{self.succeeded:,}",
            f"{self.failed:,}",
            f"{self.elapsed / 1e9:.3f} s",
            f"{self.rate:,.0f}",
            f"{self.latency:.4f}",
            f"{self.concurrency(first):.2f}x",
            f"{self.overlap:.2f}x",
            f"{self.task / 1e6:,.1f}",
            f"{self.cpu_ratio:.2f}x",
        )


def wave_sizes(waves: int) -> list[int]:
    """Return the sizes of that many doubling waves: 4, 8, 16 and so on."""
    return [FIRST_SIZE << k for k in range(waves)]


async def warm_up() -> None:
    """Run the mix's first 256 tokens: the cores come up, and durations become known."""
    await asyncio.gather(*(mix_token(i) for i in range(WARM_UP)))


async def run_wave(coordinator: OperationsCoordinator, number: int, size: int) -> Wave:
    """Run a wave: the mix's tokens 0 to `size` - 1, all at once."""
    meter = CpuMeter(core_pids(coordinator))
    begin = time.perf_counter_ns()
    tokens = [mix_token(i) for i in range(size)]
    results = await asyncio.gather(*tokens, return_exceptions=True)
    elapsed = time.perf_counter_ns() - begin
    return Wave(
        number=number,
        tokens=size,
        failed=sum(isinstance(result, BaseException) for result in results),
        elapsed=elapsed,
        task=sum(duration_ns(token.timing) for token in tokens),
        cpu=meter.used_ns(),
    )
