"""Takes samples of what blocks the caller: submit and result, and map, with default settings.

There is no event loop here: it is what people write who use an executor or a pool.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from tokengate_mp import TokenGateExecutor
from tokengate_mp.bench.measuring.competitors import OURS, ignore_interrupts
from tokengate_mp.bench.measuring.sampling import WrongResultError
from tokengate_mp.bench.work.workloads import burn, mix_item, noop_of, uneven_durations

SUBMITTERS: Final = (OURS, "PPE")
MAPPERS: Final = (OURS, "PPE", "Pool")

_SHORT_NS: Final = 1_000_000
_LONG_SHARE: Final = 20
_LONG_FACTOR: Final = 100
_WARM_UP: Final = 256
_MAP_TIMES: Final = 3
_DRAWS: Final = 8

_Map = Callable[[Callable[..., Any], Sequence[Any]], list[Any]]
_Taken = tuple[float, dict[str, Any]]


@contextmanager
def _executor(name: str, cores: int) -> Iterator[Executor]:
    if name == OURS:
        with TokenGateExecutor(cores) as executor:
            yield executor
    else:
        with ProcessPoolExecutor(cores, initializer=ignore_interrupts) as executor:
            yield executor


@contextmanager
def _map(name: str, cores: int) -> Iterator[_Map]:
    if name == "Pool":
        with multiprocessing.Pool(cores, initializer=ignore_interrupts) as pool:
            yield cast("_Map", pool.map)
    else:
        with _executor(name, cores) as executor:
            yield lambda function, items: list(executor.map(function, items))


def submitted(name: str, size: int, cores: int, turn: int) -> _Taken:
    """Seconds for `size` no-ops: all submitted, then the result of each taken."""
    del turn
    with _executor(name, cores) as executor:
        submit = executor.submit
        for future in [submit(noop_of, None) for _ in range(_WARM_UP)]:
            future.result()
        gc.collect()
        begin = time.perf_counter()
        futures = [submit(noop_of, None) for _ in range(size)]
        results = [future.result() for future in futures]
        seconds = time.perf_counter() - begin
    _check(name, results, [None] * size)
    return seconds, {}


def mapped_noops(name: str, size: int, cores: int, turn: int) -> _Taken:
    """Seconds for a map of `size` no-ops; the mean of several."""
    del turn
    return _mapped(name, cores, [_Work(noop_of, range(size), [None] * size)] * _MAP_TIMES)


@lru_cache(maxsize=1)
def _mix(size: int) -> list[object]:
    return [mix_item(index) for index in range(size)]


def mapped_mix(name: str, size: int, cores: int, turn: int) -> _Taken:
    """Seconds for a map over `size` items of the mix."""
    del turn
    return _mapped(name, cores, [_Work(mix_item, range(size), _mix(size))])


def mapped_uneven(name: str, size: int, cores: int, turn: int) -> _Taken:
    """Seconds for a map over items of 1 ms, and 1 in 20 of 100 ms; the mean of several maps.

    Where the long ones stand is drawn anew for each. For one draw or another the chunks that a pool
    makes beforehand happen to be as good as the best schedule.
    """
    draws = [
        uneven_durations(size, size // _LONG_SHARE, _SHORT_NS, _LONG_FACTOR, seed=seed)
        for seed in range(turn * _DRAWS, (turn + 1) * _DRAWS)
    ]
    return _mapped(name, cores, [_Work(burn, durations, durations) for durations in draws])


@dataclass(frozen=True, slots=True)
class _Work:
    """A function with its items and the expected results."""

    function: Callable[..., Any]
    items: Sequence[Any]
    expected: list[Any]


def _mapped(name: str, cores: int, works: Sequence[_Work]) -> _Taken:
    seconds = 0.0
    with _map(name, cores) as run:
        run(burn, [_SHORT_NS] * _WARM_UP)  # long enough for every worker to come up
        gc.collect()
        for work in works:
            begin = time.perf_counter()
            results = run(work.function, work.items)
            seconds += time.perf_counter() - begin
            _check(name, results, work.expected)
    return seconds / len(works), {"times": len(works)}


def _check(name: str, results: list[Any], expected: list[Any]) -> None:
    if results != expected:
        raise WrongResultError(f"{name} returned wrong results")
