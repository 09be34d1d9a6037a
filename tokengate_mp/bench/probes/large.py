"""Takes samples with large arrays: there, back, shared, and what the event loop has of it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from tokengate_mp.bench.measuring.competitors import Competitor, TokengateMp
from tokengate_mp.bench.measuring.sampling import WrongResultError, run_alone
from tokengate_mp.bench.work.arrays import MEBIBYTE, add_up, array_of, ends_of
from tokengate_mp.bench.work.workloads import Call, noop

SHARED: Final = 64
"""MiB of the array that many tokens get."""

_TIMES: Final = 5
_WARM_UP: Final = 3
_PIECES: Final = 8
_BEAT: Final = 0.001


def there(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    """Seconds for a call that adds up its argument, an array of `size` MiB."""
    del turn
    array = array_of(size)

    async def one(competitor: Competitor) -> None:
        if await competitor.one((competitor.callable_for(add_up), (array,))) != len(array):
            raise WrongResultError(f"{competitor.name} returned wrong results")

    return run_alone(partial(_timed, cores, one, _TIMES), name), {"times": _TIMES}


def back(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    """Seconds for a call whose result is an array of `size` MiB."""
    del turn

    async def one(competitor: Competitor) -> None:
        call: Call = (competitor.callable_for(array_of), (size,))
        result: Any = await competitor.one(call)
        if ends_of(result) != 2 or result.nbytes != size * MEBIBYTE:
            raise WrongResultError(f"{competitor.name} returned wrong results")

    return run_alone(partial(_timed, cores, one, _TIMES), name), {"times": _TIMES}


def shared(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    """Seconds for `size` calls with the same array, shared by us, passed each time by others."""
    del turn
    array = array_of(SHARED)

    async def all_of_them(competitor: Competitor) -> None:
        passed = array
        if isinstance(competitor, TokengateMp) and competitor.coordinator is not None:
            passed = competitor.coordinator.share(array)
        call: Call = (competitor.callable_for(ends_of), (passed,))
        if await competitor.run([call] * size) != [2.0] * size:
            raise WrongResultError(f"{competitor.name} returned wrong results")

    return run_alone(partial(_timed, cores, all_of_them, 1), name), {"MiB": SHARED}


async def _timed(
    cores: int,
    take: Callable[[Competitor], Awaitable[None]],
    times: int,
    competitor: Competitor,
) -> float:
    await competitor.open(cores)
    try:
        await competitor.run([(competitor.callable_for(noop), ())] * 64)
        for _ in range(_WARM_UP * cores if times > 1 else 0):
            await take(competitor)
        gc.collect()
        begin = time.perf_counter()
        for _ in range(times):
            await take(competitor)
        return (time.perf_counter() - begin) / times
    finally:
        await competitor.close()


def stall(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    """Seconds that a task which wants to run each ms is late while `size` MiB are submitted.

    At the most, and beyond the time that an ordinary copy takes. They come as several arrays, one
    after the other, into shared memory that was never used, and the loop turns in between. But a
    task that sleeps needs up to three turns to go on: its time comes up, its future is resolved,
    and it is called. So what counts as copying is that of all the arrays which are submitted while
    it is late.
    """
    del turn
    late, worst, copying = run_alone(partial(_stalled, cores, size), name)
    return late, {"worst": worst, "copying": copying}


async def _stalled(cores: int, size: int, competitor: Competitor) -> tuple[float, float, float]:
    array = array_of(size // _PIECES or 1)
    function: Any = competitor.callable_for(ends_of)
    copying = _copying(array)
    late = worst = 0.0
    submitted: list[float] = []  # when the call had returned

    async def beat() -> None:
        nonlocal late, worst
        while True:
            due = time.perf_counter() + _BEAT
            await asyncio.sleep(_BEAT)
            after = time.perf_counter() - due
            copied = sum([at > due for at in submitted]) * copying
            late, worst = max(late, after - copied), max(worst, after)

    await competitor.open(cores)
    heart = None
    try:
        # The workers import numpy now: later that would take the CPUs from the loop.
        await competitor.run([(function, (array[:1],))] * 64)
        gc.collect()
        heart = asyncio.create_task(beat())
        await asyncio.sleep(10 * _BEAT)
        late = worst = 0.0
        tokens = []
        for _ in range(_PIECES):
            tokens.append(function(array))
            submitted.append(time.perf_counter())
            await asyncio.sleep(0)
        await asyncio.gather(*tokens)
    finally:
        if heart is not None:
            heart.cancel()
        await competitor.close()
    return late, worst, copying


def _copying(array: Any) -> float:
    """Seconds for an ordinary copy of a piece, into private memory of the calling process."""
    source = memoryview(array).cast("B")
    begin = time.perf_counter()
    for _ in range(_PIECES):
        source.tobytes()
    return (time.perf_counter() - begin) / _PIECES
