"""How a figure is taken: one competitor at a time, in rounds.

A round measures every competitor once, and each round begins with another one, so that noise and
drift of the machine hit all alike; a ratio is taken within a round. Pools are opened for one
measurement and closed after it: two are never alive at once. Before the clock starts there is a
warm-up, which brings up the workers, and a garbage collection; after it stops the results are
checked, for a fast wrong answer is worth nothing.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tokengate_mp.bench.measuring.competitors import COMPETITORS, Competitor
from tokengate_mp.bench.work.workloads import Call, noop

_NOOP_WARM_UP: Final = 64


class WrongResultError(Exception):
    """A competitor returned something else than the plain function does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement of a competitor.

    `raw` is what was measured, in seconds or bytes, always such that less is better; None when it
    failed, with the reason in `error`. `detail` holds what else is worth keeping.
    """

    competitor: str
    turn: int
    """The round, from 0."""
    raw: float | None
    error: str | None = None
    detail: dict[str, Any] = field(default_factory=dict[str, Any])


def rotations(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (round, name); each round has every name once and begins a place further on."""
    for turn in range(rounds):
        shift = turn % len(names)
        for name in (*names[shift:], *names[:shift]):
            yield turn, name


@dataclass(frozen=True, slots=True)
class Job:
    """Calls to run against the clock.

    Attributes:
        calls: Plain functions with their arguments.
        warm_up: How many of the calls are run before the clock starts, after a few no-ops.
        times: How often they are run; the mean counts. For runs too short for one reading.
    """

    calls: Sequence[Call]
    warm_up: int = 0
    times: int = 1


async def timed(competitor: Competitor, cores: int, job: Job) -> tuple[float, list[object]]:
    """Return the seconds that `competitor`, opened and closed here, takes, and the results."""
    translated = _translated(competitor, job.calls)
    await competitor.open(cores)
    try:
        await competitor.run([(competitor.callable_for(noop), ())] * _NOOP_WARM_UP)
        if job.warm_up:
            await competitor.run(translated[: job.warm_up])
        gc.collect()
        results: list[object] = []
        begin = time.perf_counter()
        for _ in range(job.times):
            results = await competitor.run(translated)
        return (time.perf_counter() - begin) / job.times, results
    finally:
        await competitor.close()


async def timed_checked(
    competitor: Competitor, cores: int, job: Job, expected: Sequence[object]
) -> float:
    """Return the same seconds.

    Raises:
        WrongResultError: The results are not as expected.
    """
    seconds, results = await timed(competitor, cores, job)
    if results != expected:
        raise WrongResultError(f"{competitor.name} returned wrong results")
    return seconds


async def timed_trips(competitor: Competitor, cores: int, trips: int) -> float:
    """Return the mean seconds from a no-op call to its result, with a single call under way."""
    call: Call = (competitor.callable_for(noop), ())
    await competitor.open(cores)
    try:
        for _ in range(_NOOP_WARM_UP):
            await competitor.one(call)
        gc.collect()
        result = None
        begin = time.perf_counter()
        for _ in range(trips):
            result = await competitor.one(call)
        elapsed = time.perf_counter() - begin
        if result is not None:
            raise WrongResultError(f"{competitor.name} returned wrong results")
    finally:
        await competitor.close()
    return elapsed / trips


def run_alone(
    measure: Callable[[Competitor], Any],
    name: str,
    among: Mapping[str, Callable[[], Competitor]] = COMPETITORS,
) -> Any:
    """Run `measure` on a new competitor of that name, in an event loop of its own."""
    return asyncio.run(measure(among[name]()))


def _translated(competitor: Competitor, calls: Sequence[Call]) -> list[Call]:
    """Put the competitor's own callables in place of the functions.

    A call that stands in the list many times stays one object: a million tuples of the benchmark's
    own would slow the garbage collector down for everyone.
    """
    made: dict[int, Call] = {}
    for call in calls:
        if id(call) not in made:
            made[id(call)] = (competitor.callable_for(call[0]), call[1])
    return [made[id(call)] for call in calls]
