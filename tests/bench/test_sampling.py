from __future__ import annotations

import asyncio

import pytest

from tokengate_mp.bench.demos.clocks import CpuMeter, process_cpu_ns
from tokengate_mp.bench.measuring.competitors import COMPETITORS, OURS, Competitor, PlainLoop
from tokengate_mp.bench.measuring.sampling import (
    Job,
    WrongResultError,
    rotations,
    timed,
    timed_checked,
)
from tokengate_mp.bench.probes.fresh import ProbeError, growth_figures, in_fresh_interpreter
from tokengate_mp.bench.rows.all_rows import ROWS
from tokengate_mp.bench.run import Plan
from tokengate_mp.bench.work.workloads import burn, cpu_crunch


class Recording(Competitor):
    """A plain loop that writes down what is asked of it."""

    name = "recording"

    def __init__(self, broken=False):
        self.asked = []
        self.broken = broken

    async def open(self, cores):
        self.asked.append(("open", cores))

    async def run(self, calls):
        self.asked.append(("run", len(calls)))
        if self.broken and len(calls) == 3:
            raise ValueError("no")
        return [function(*arguments) for function, arguments in calls]

    async def one(self, call):
        return call[0](*call[1])

    async def close(self):
        self.asked.append(("close",))


CALLS = [(cpu_crunch, (n,)) for n in (10, 20, 30)]
RESULTS = [17, 77, 129]


def test_each_round_has_everyone_once_and_begins_one_further_on():
    """Over as many rounds as there are names, each name stands at each place once."""
    order = list(rotations(["a", "b", "c"], 3))
    assert order == [
        *((0, name) for name in "abc"),
        *((1, name) for name in "bca"),
        *((2, name) for name in "cab"),
    ]


def test_a_job_is_warmed_up_run_and_closed():
    """No-ops and the first calls come before the measured runs, and the end after them."""
    competitor = Recording()
    job = Job(CALLS, warm_up=2, times=2)
    _, results = asyncio.run(timed(competitor, 5, job))
    assert results == RESULTS
    assert competitor.asked == [
        ("open", 5),
        ("run", 64),
        ("run", 2),
        ("run", 3),
        ("run", 3),
        ("close",),
    ]


def test_a_competitor_that_raises_is_closed():
    """Nothing stays open when a measured run fails."""
    competitor = Recording(broken=True)
    with pytest.raises(ValueError, match="no"):
        asyncio.run(timed(competitor, 2, Job(CALLS)))
    assert competitor.asked[-1] == ("close",)


def test_wrong_results_are_no_measurement():
    """A result that differs from the plain function's is an error, not a time."""
    with pytest.raises(WrongResultError):
        asyncio.run(timed_checked(Recording(), 2, Job(CALLS), [17, 77, 130]))


def test_a_broken_competitor_becomes_an_error_of_its_sample(monkeypatch):
    """Whatever it raises, the run goes on, and the sample says what it was."""

    class Broken(PlainLoop):
        async def run(self, calls):
            raise OSError("out of order")

    monkeypatch.setitem(COMPETITORS, "loop", Broken)
    sample = ROWS["noop"].sample("loop", 4, 2, 0)
    assert sample.raw is None
    assert sample.error == "OSError: out of order"


def test_a_plan_has_a_line_for_every_size():
    """The quick sizes and the full ones are those of the rows, in order."""
    quick = [(line.row.key, line.size) for line in Plan(("noop", "1ms"), 2, 1, quick=True).lines()]
    assert quick == [("noop", 4), ("noop", 256), ("1ms", 16)]
    full = [line.size for line in Plan(("noop",), 2, 1).lines()]
    assert full == [4, 64, 1_024, 16_384, 65_536, 262_144, 1_048_576]


def test_a_capped_competitor_is_not_asked():
    """Beyond its cap a competitor is not among those that are measured."""
    plan = Plan(("noop",), 2, 1)
    assert "PPE" in plan.contestants(ROWS["noop"], 65_536)
    assert "PPE" not in plan.contestants(ROWS["noop"], 262_144)
    assert plan.contestants(ROWS["noop"], 1_048_576)[0] == OURS


def test_who_is_not_asked_for_is_left_out():
    """Beside ourselves only those are measured that the plan names."""
    plan = Plan(("noop",), 2, 1, against=("Pool", "asyncio"))
    assert plan.contestants(ROWS["noop"], 4) == [OURS, "Pool", "asyncio"]
    assert plan.contestants(ROWS["mix"], 4) == [OURS, "Pool"]


def test_growth_counts_from_the_settled_waves_on():
    """Five waves may fill caches; then the most in five is held against that in the last five."""
    own = [10, 20, 30, 40, 9_000] + [4_000, 1, 5_000, 4_000, 4_000] + [0] * 5
    own += [4_000, 4_000, 1, 4_000, 6_000]
    held = {"own": own, "cores_own": [7] * 10 + [1_007] * 10, "blocks": [0] * 15 + [10] * 5}
    figures = growth_figures(held, tokens=100)
    assert figures == {"bytes_per_token": 2.0, "blocks_per_token": 0.01}


def test_a_cpu_clock_stands_for_work_done():
    """The meter has seen at least the CPU time that this process has certainly used."""
    meter = CpuMeter([])
    burn(3_000_000)
    assert meter.used_ns() >= 3_000_000


def test_a_process_that_is_not_there_has_no_clock():
    """An unknown pid is an error when asked for, and counts for nothing in a sum."""
    nobody = 2**22 + 1  # above the largest pid that Linux gives out
    with pytest.raises(ProcessLookupError):
        process_cpu_ns(nobody)
    assert CpuMeter([nobody]).used_ns() >= 0


def test_a_probe_that_fails_brings_its_traceback():
    """What went wrong in the other interpreter stands in the error."""
    with pytest.raises(ProbeError, match="KeyError: 'nobody'"):
        in_fresh_interpreter("start_up", "nobody", 2)
