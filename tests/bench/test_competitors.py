from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tokengate_mp.bench.measuring.competitors import COMPETITORS, OURS, PACKAGES, installed
from tokengate_mp.bench.work.workloads import cpu_crunch, mix_call

# In an interpreter of its own: what libraries leave for the life of a process (their trackers and
# threads), and what they warn of when they fork, is theirs.
CONTRACT = """
import asyncio, json, sys
import psutil
from tokengate_mp.bench.measuring.competitors import COMPETITORS
from tokengate_mp.bench.work.workloads import cpu_crunch, mix_call, noop

def translated(competitor, calls):
    return [(competitor.callable_for(function), arguments) for function, arguments in calls]

async def main(name):
    competitor = COMPETITORS[name]()
    none = name == "asyncio"
    calls = [(noop, ())] * 16 if none else [mix_call(i) for i in range(16)]
    single = (noop, ()) if none else (cpu_crunch, (100,))
    await competitor.open(2)
    try:
        first = await competitor.run(translated(competitor, calls))
        one = await competitor.one(*translated(competitor, [single]))
        again = await competitor.run(translated(competitor, calls))
    finally:
        await competitor.close()
    left = [
        child.cmdline() for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "tracker" not in " ".join(child.cmdline())
    ]
    print(json.dumps([type(first).__name__, first, one, again == first, left]))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("name", COMPETITORS)
def test_every_competitor_keeps_the_contract(name):
    """Sixteen calls give their results in order, twice, and one alone; close leaves no process."""
    if not installed(name):
        pytest.skip(f"{PACKAGES[name]} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", CONTRACT, name],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    kind, results, one, again, left = json.loads(done.stdout.splitlines()[-1])
    none = name == "asyncio"
    assert kind == "list"
    assert results == ([None] * 16 if none else [f(*a) for f, a in map(mix_call, range(16))])
    assert one == (None if none else cpu_crunch(100))
    assert again is True
    assert left == []


def test_ours_comes_first():
    """The table's first column is ours."""
    assert next(iter(COMPETITORS)) == OURS


def test_a_competitor_that_is_not_installed_is_known_to_be(monkeypatch):
    """A missing distribution is found without importing anything."""
    monkeypatch.setitem(PACKAGES, "loky", "a_package_that_is_not_there")
    assert not installed("loky")
    assert installed("PPE")
