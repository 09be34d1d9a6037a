"""What is measured: the rows of the benchmark.

A row names its sizes, who takes part and up to which size, how one sample is taken, and how a raw
sample (seconds or bytes, less is better) reads as a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final

from tokengate_mp.bench import fresh, large
from tokengate_mp.bench.competitors import COMPETITORS, OURS
from tokengate_mp.bench.sampling import Job, Sample, run_alone, timed_checked, timed_trips
from tokengate_mp.bench.schedule import longest_first
from tokengate_mp.bench.workloads import Call, burn, mix_call, noop, uneven_durations

_MS: Final = 1_000_000
_LONG_SHARE: Final = 20
_LONG_FACTOR: Final = 100

EVERYONE: Final = tuple(COMPETITORS)
COMPUTING: Final = tuple(name for name in EVERYONE if name != "asyncio")


@dataclass(frozen=True, slots=True)
class Unit:
    """How a raw sample is shown.

    `figure` takes (raw, size, cores); `pattern` formats what it gives.
    """

    name: str
    pattern: str
    figure: Callable[[float, int, int], float]

    def text(self, raw: float, size: int, cores: int) -> str:
        """Return the figure as text, with its unit."""
        return f"{self.figure(raw, size, cores):{self.pattern}} {self.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the benchmark; at several sizes it fills several lines of the table."""

    key: str
    title: str
    """A word or two for the table."""
    meaning: str
    """What the figure is, in a sentence."""
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    unit: Unit
    take: Callable[[str, int, int, int], tuple[float, dict[str, Any]]]
    """Measures (competitor, size, cores, round) and returns the raw sample and its details."""
    competitors: tuple[str, ...] = COMPUTING
    caps: Mapping[str, int] = field(default_factory=dict[str, int])
    """For those that would take minutes: the largest size they are asked to run."""

    def capped(self, name: str, size: int) -> bool:
        """Return whether `size` is beyond what that competitor is asked to run."""
        return size > self.caps.get(name, size)

    def sample(self, name: str, size: int, cores: int, turn: int) -> Sample:
        """Take one sample; whatever a competitor does wrong becomes the sample's error."""
        try:
            raw, detail = self.take(name, size, cores, turn)
        except Exception as error:  # noqa: BLE001 - one broken competitor must not end the run
            return Sample(name, turn, None, f"{type(error).__name__}: {error}")
        return Sample(name, turn, raw, detail=detail)


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
    milliseconds: int, name: str, size: int, cores: int, turn: int
) -> tuple[float, dict[str, Any]]:
    del turn
    call: Call = (burn, (milliseconds * _MS,))
    job = Job([call] * size, warm_up=min(size, 8 * cores))
    return _checked(name, cores, job, [milliseconds * _MS] * size), {}


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


def _rate(raw: float, size: int, cores: int) -> float:
    del cores
    return size / raw


def _efficiency(milliseconds: int, raw: float, size: int, cores: int) -> float:
    return milliseconds * size / (raw * 1e3 * cores)


def _times_best(raw: float, size: int, cores: int) -> float:
    return raw / _best_uneven(size, cores)


def _scaled(factor: float, raw: float, size: int, cores: int) -> float:
    del size, cores
    return raw * factor


_BYTES: Final = Unit("B", ",.0f", partial(_scaled, 1))
_MILLISECONDS: Final = Unit("ms", ",.2f", partial(_scaled, 1e3))

ROWS: Final = {
    row.key: row
    for row in (
        Row(
            "noop",
            "no-op",
            "no-op tokens a second, made, awaited and gathered",
            (4, 64, 1_024, 16_384, 65_536, 262_144, 1_048_576),
            (4, 256),
            Unit("tok/s", ",.0f", _rate),
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
            Unit("µs", ",.1f", partial(_scaled, 1e6)),
            _trips,
            (OURS, "PPE", "Pool", "loky", "pebble"),
        ),
        Row(
            "mix",
            "mix",
            "tokens of the mix a second",
            (16_384, 65_536),
            (64,),
            Unit("tok/s", ",.0f", _rate),
            _mixed,
            caps={"loky": 16_384, "pebble": 16_384},
        ),
        Row(
            "1ms",
            "1 ms",
            "tokens of 1 ms of CPU time: the share of all cores that was work",
            (2_000,),
            (16,),
            Unit("", ".3f", partial(_efficiency, 1)),
            partial(_burns, 1),
        ),
        Row(
            "10ms",
            "10 ms",
            "tokens of 10 ms of CPU time: the share of all cores that was work",
            (400,),
            (4,),
            Unit("", ".3f", partial(_efficiency, 10)),
            partial(_burns, 10),
        ),
        Row(
            "uneven",
            "uneven",
            "1 token in 20 takes 100 ms, the others 1 ms: time over that of the best schedule",
            (200,),
            (20,),
            Unit("x", ".3f", _times_best),
            _uneven,
        ),
        Row(
            "start",
            "start",
            "until it takes calls, in a fresh interpreter",
            (1,),
            (1,),
            _MILLISECONDS,
            partial(_start, "opened"),
            fresh.STARTERS,
        ),
        Row(
            "first",
            "first result",
            "until the first result, in a fresh interpreter",
            (1,),
            (1,),
            _MILLISECONDS,
            partial(_start, "first"),
            fresh.STARTERS,
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
            Unit("B", ",.3f", partial(_scaled, 1)),
            _growth,
            (OURS,),
        ),
        Row(
            "there",
            "array there",
            "a call with an array of so many MiB as its argument, which it adds up",
            (64,),
            (1,),
            _MILLISECONDS,
            large.there,
            (OURS, "PPE"),
        ),
        Row(
            "back",
            "array back",
            "a call whose result is an array of so many MiB",
            (64,),
            (1,),
            _MILLISECONDS,
            large.back,
            (OURS, "PPE"),
        ),
        Row(
            "shared",
            "shared array",
            "so many calls with the same array of 64 MiB: shared, or passed each time",
            (100,),
            (2,),
            _MILLISECONDS,
            large.shared,
            (OURS, "PPE"),
        ),
        Row(
            "stall",
            "loop stall",
            "how late the loop is while so many MiB are submitted, beyond copying them",
            (200,),
            (8,),
            _MILLISECONDS,
            large.stall,
            (OURS,),
        ),
    )
}
"""Every row by key, in the order of the table."""
