"""One wave of the mix by a plain loop, by ProcessPoolExecutor and by tokengate_mp, in one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from tokengate_mp.bench.demos.waves import WARM_UP
from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.measuring.sampling import Job, run_alone, timed
from tokengate_mp.bench.work.workloads import mix_call

CONTESTANTS: Final = {"loop": "plain loop", "PPE": "ProcessPoolExecutor", OURS: OURS}
"""Competitors by name, each with its name in full; the loop comes first and is the measure."""

SMALLEST: Final = 4_096
"""Below this the comparison would be of latencies, not of throughput."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Tokens, seconds and correctness of a contestant's wave."""

    title: str
    tokens: int
    seconds: float
    equal: bool
    """Its results are equal to the plain loop's."""

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def compare(
    size: int, cores: int, progress: Callable[[str], None] = lambda _: None
) -> list[Contestant]:
    """Run the same `size` tokens of the mix by each contestant in turn, after a warm-up each.

    Args:
        size: Tokens of the mix.
        cores: Worker processes for those that have any.
        progress: Called with the title of each before its turn.
    """
    job = Job([mix_call(i) for i in range(size)], warm_up=min(size, WARM_UP))
    done: list[Contestant] = []
    expected: list[object] | None = None
    for name, title in CONTESTANTS.items():
        progress(title)
        seconds, results = run_alone(partial(timed, cores=cores, job=job), name)
        expected = results if expected is None else expected
        done.append(Contestant(title, size, seconds, equal=results == expected))
    return done
