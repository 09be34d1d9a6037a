"""What is measured: the rows of the benchmark (see `row`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, Final

from tokengate_mp.bench.measuring.competitors import OURS, UNDER_JOBLIB
from tokengate_mp.bench.measuring.sampling import Job, run_alone, timed_checked, timed_trips
from tokengate_mp.bench.measuring.schedule import longest_first
from tokengate_mp.bench.probes import fresh
from tokengate_mp.bench.rows.bulk_rows import BULK_ROWS
from tokengate_mp.bench.rows.large_rows import LARGE_ROWS
from tokengate_mp.bench.rows.own_rows import OWN_ROWS
from tokengate_mp.bench.rows.row import EVERYONE, MILLISECONDS, Row, Unit, rate, scaled
from tokengate_mp.bench.work.workloads import Call, burn, mix_call, noop, uneven_durations

_MS: Final = 1_000_000
_LONG_SHARE: Final = 20
_LONG_FACTOR: Final = 100


def _checked(name: str, cores: int, job: Job, expected: Sequence[object]) -> float:
    measure = partial(timed_checked, cores=cores, job=job, expected=expected)
    seconds: float = run_alone(measure, name)
    return seconds


def _noops(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    del turn
    times = min(256, max(1, 1024 // size))
    job = Job([(noop, ())] * size, times=times)
    return _checked(name, cores, job, [None] * size), {"times": times}


def _trips(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    del turn
    return run_alone(partial(timed_trips, cores=cores, trips=size), name), {}


@lru_cache(maxsize=1)
def _mix(size: int) -> tuple[list[Call], list[object]]:
    calls = [mix_call(i) for i in range(size)]
    return calls, [function(*arguments) for function, arguments in calls]


def _mixed(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    del turn
    calls, expected = _mix(size)
    return _checked(name, cores, Job(calls, warm_up=256), expected), {}


def _burns(
    milliseconds: float, name: str, size: int, cores: int, turn: int
) -> tuple[float, dict[str, Any]]:
    del turn
    duration = round(milliseconds * _MS)
    call: Call = (burn, (duration,))
    job = Job([call] * size, warm_up=min(size, 8 * cores))
    return _checked(name, cores, job, [duration] * size), {}


def _burns_under_joblib(
    name: str, size: int, cores: int, turn: int
) -> tuple[float, dict[str, Any]]:
    del turn
    # It has to find the size of its batches beforehand.
    job = Job([(burn, (_MS,))] * size, warm_up=min(size, 64 * cores))
    measure = partial(timed_checked, cores=cores, job=job, expected=[_MS] * size)
    seconds: float = run_alone(measure, name, UNDER_JOBLIB)
    return seconds, {}


def _start_under_joblib(
    name: str, size: int, cores: int, turn: int
) -> tuple[float, dict[str, Any]]:
    del size, turn
    seconds = fresh.in_fresh_interpreter("start_up", name, cores, True)
    return seconds["first"], dict(seconds)


def _uneven(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    durations = uneven_durations(size, size // _LONG_SHARE, _MS, _LONG_FACTOR, seed=turn)
    calls: list[Call] = [(burn, (duration,)) for duration in durations]
    # No warm-up with these: what an executor has learned beforehand would not be a first run.
    return _checked(name, cores, Job(calls), durations), {}


def _best_uneven(size: int, cores: int) -> float:
    durations = uneven_durations(size, size // _LONG_SHARE, _MS, _LONG_FACTOR, seed=0)
    return longest_first(durations, cores) / 1e9


def _start(which: str, name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    del size, turn
    seconds = fresh.in_fresh_interpreter("start_up", name, cores)
    return seconds[which], dict(seconds)


def _memory(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    del turn
    held = fresh.in_fresh_interpreter("waiting_memory", name, cores, size)
    return held["rss"], dict(held)


def _growth(name: str, size: int, cores: int, turn: int) -> tuple[float, dict[str, Any]]:
    del name, turn
    held = fresh.in_fresh_interpreter("growth", cores, 20, size)
    return held["bytes_per_token"], held


def _efficiency(milliseconds: float, raw: float, size: int, cores: int) -> float:
    return milliseconds * size / (raw * 1e3 * cores)


def _times_best(raw: float, size: int, cores: int) -> float:
    return raw / _best_uneven(size, cores)


_BYTES: Final = Unit("B", ",.0f", partial(scaled, 1), "lower")

ROWS: Final = {
    row.key: row
    for row in (
        Row(
            "noop",
            "no-op",
            "no-op tokens a second, made, awaited and gathered",
            (4, 64, 1_024, 16_384, 65_536, 262_144, 1_048_576),
            (4, 256),
            Unit("tok/s", ",.0f", rate, "higher"),
            _noops,
            tuple(name for name in EVERYONE if name != "shares"),
            {"PPE": 65_536, "Pool": 65_536, "loky": 16_384, "pebble": 16_384, "joblib": 262_144},
        ),
        Row(
            "trip",
            "round trip",
            "from making one no-op to having its result, one after the other",
            (1_000,),
            (20,),
            Unit("µs", ",.1f", partial(scaled, 1e6), "lower"),
            _trips,
            (OURS, "PPE", "Pool", "loky", "pebble"),
        ),
        Row(
            "mix",
            "mix",
            "tokens of the mix a second",
            (16_384, 65_536),
            (64,),
            Unit("tok/s", ",.0f", rate, "higher"),
            _mixed,
            caps={"loky": 16_384, "pebble": 16_384},
        ),
        Row(
            "10us",
            "10 µs",
            "tokens of 10 µs of CPU time: the share of all cores that was work",
            (10_000,),
            (64,),
            Unit("", ".3f", partial(_efficiency, 0.01), "higher"),
            partial(_burns, 0.01),
            milliseconds=0.01,
        ),
        Row(
            "100us",
            "100 µs",
            "tokens of 100 µs of CPU time: the share of all cores that was work",
            (5_000,),
            (32,),
            Unit("", ".3f", partial(_efficiency, 0.1), "higher"),
            partial(_burns, 0.1),
            milliseconds=0.1,
        ),
        Row(
            "1ms",
            "1 ms",
            "tokens of 1 ms of CPU time: the share of all cores that was work",
            (2_000,),
            (16,),
            Unit("", ".3f", partial(_efficiency, 1), "higher"),
            partial(_burns, 1),
            milliseconds=1,
        ),
        Row(
            "10ms",
            "10 ms",
            "tokens of 10 ms of CPU time: the share of all cores that was work",
            (400,),
            (4,),
            Unit("", ".3f", partial(_efficiency, 10), "higher"),
            partial(_burns, 10),
            milliseconds=10,
        ),
        Row(
            "uneven",
            "uneven",
            "1 token in 20 takes 100 ms, the others 1 ms: time over that of the best schedule",
            (200,),
            (20,),
            Unit("x", ".3f", _times_best, "lower"),
            _uneven,
        ),
        Row(
            "start",
            "start",
            "until it takes calls, in a fresh interpreter",
            (1,),
            (1,),
            MILLISECONDS,
            partial(_start, "opened"),
            fresh.STARTERS,
        ),
        Row(
            "first",
            "first result",
            "until the first result, in a fresh interpreter",
            (1,),
            (1,),
            MILLISECONDS,
            partial(_start, "first"),
            fresh.STARTERS,
        ),
        Row(
            "joblib",
            "joblib 1 ms",
            "joblib.Parallel with tokens of 1 ms, on its backend tokengate and on loky: the share "
            "of all cores that was work",
            (2_000,),
            (16,),
            Unit("", ".3f", partial(_efficiency, 1), "higher"),
            _burns_under_joblib,
            tuple(UNDER_JOBLIB),
            package="joblib",
        ),
        Row(
            "joblib-first",
            "joblib first",
            "until the first result of joblib.Parallel, in a fresh interpreter",
            (1,),
            (1,),
            MILLISECONDS,
            _start_under_joblib,
            tuple(UNDER_JOBLIB),
            package="joblib",
        ),
        Row(
            "memory",
            "memory",
            "memory of the parent for each waiting no-op token; the ratio is one of sizes",
            (1_048_576,),
            (4_096,),
            _BYTES,
            _memory,
            (OURS, "asyncio"),
        ),
        Row(
            "growth",
            "growth",
            "growth of parent and cores for each token, over the last 15 of 20 waves",
            (16_384,),
            (64,),
            Unit("B", ",.3f", partial(scaled, 1), "lower"),
            _growth,
            (OURS,),
        ),
        *OWN_ROWS,
        *BULK_ROWS,
        *LARGE_ROWS,
    )
}
"""Every row by key, in the order of the table."""
