"""Views of a running coordinator: taken in any thread, also while its loop stands still."""

from __future__ import annotations

import asyncio
import threading
import time

import gates
import pytest
import work

from tokengate_mp import CoordinatorNotRunning, OperationsCoordinator
from tokengate_mp.observe import events
from tokengate_mp.observe.stats import stats

BLOCKED = 1.0
"""Seconds for which a loop is blocked."""


def test_views_are_taken_while_the_loop_is_blocked():
    """They take no turn of the loop, see what cores do meanwhile, and say since when none ended."""

    async def main():
        with gates.Gate() as gate:
            async with OperationsCoordinator(cores=2) as coordinator:
                port = coordinator._run.engine.control_port
                token = work.gated(gate.address)
                await asyncio.to_thread(gate.arrivals)
                blocking, views, longest = threading.Event(), [], 0.0

                def look():
                    nonlocal longest
                    blocking.wait()
                    while blocking.is_set():
                        begun = time.monotonic()
                        views.append(port.take_view())
                        longest = max(longest, time.monotonic() - begun)
                        time.sleep(0.01)

                looking = threading.Thread(target=look)
                looking.start()
                blocking.set()
                time.sleep(BLOCKED)  # noqa: ASYNC251 - nothing else may run in the loop
                blocking.clear()
                looking.join()
                gate.open()
                await token
        assert len(views) > 3
        assert longest < BLOCKED / 2
        assert {stats(view)["tokens"]["executing"] for view in views} == {1}
        assert len({view.last_turn for view in views}) == 1
        assert views[-1].taken - views[0].last_turn > BLOCKED / 2 * 1e9

    asyncio.run(main())


def test_a_view_at_rest_is_what_get_stats_gives():
    """The same counts, and no token between two places."""
    with OperationsCoordinator(cores=2) as coordinator:
        port = coordinator._run.engine.control_port
        assert list(coordinator.map(abs, range(100))) == list(range(100))
        for token in [work.square(n) for n in range(50)]:
            token.get(20)
        asyncio.run(coordinator.join())
        assert stats(port.take_view()) == coordinator.get_stats()
    assert stats(port.take_view()) == coordinator.get_stats()
    assert not any(status.processes for status in port.take_view().cores)


def test_events_of_a_run_are_pulled():
    """From the first process to the end, and portions, not tokens, in between."""
    with OperationsCoordinator(cores=1) as coordinator:
        ring = coordinator._run.engine.control_port.events
        tokens = [work.echo(n) for n in range(2000)]
        assert [token.get(20) for token in tokens] == list(range(2000))
    reading = ring.read_since(0)
    told = [event[0] for event in reading.events]
    assert reading.missed == 0
    assert {events.LAUNCHED, events.OPENED, events.TOOK_OVER} <= set(told)
    assert told[-1] == events.CLOSED
    portions = [event for event in reading.events if event[0] == events.PORTION]
    assert sum(event[3] for event in portions) == 2000
    assert len(portions) < 1500
    times = [event[1] for event in reading.events]
    assert times == sorted(times)


# ---- labels


def test_a_coordinator_says_its_label_and_how_far_it_is():
    """In `repr`, before it runs, while it runs, and when it was stopped."""
    coordinator = OperationsCoordinator(cores=1, label="nightly")
    assert coordinator.label == "nightly"
    assert repr(coordinator) == "<OperationsCoordinator 'nightly': cores=1, not started>"
    with coordinator:
        assert repr(coordinator) == "<OperationsCoordinator 'nightly': cores=1, running>"
        assert "label" not in coordinator.get_stats()
    assert repr(coordinator) == "<OperationsCoordinator 'nightly': cores=1, stopped>"
    assert repr(OperationsCoordinator(cores=2)) == "<OperationsCoordinator: cores=2, not started>"


def test_a_label_is_a_str():
    """Anything else is refused where it is given."""
    with pytest.raises(TypeError, match="label must be a str, not int"):
        OperationsCoordinator(cores=1, label=3)


def test_a_coordinator_that_was_never_started_has_no_statistics():
    """It says so, and what is missing."""
    coordinator = OperationsCoordinator(cores=1)
    with pytest.raises(CoordinatorNotRunning, match=r"get_stats\(\) needs a coordinator"):
        coordinator.get_stats()
    with pytest.raises(CoordinatorNotRunning, match="never started"):
        coordinator.get_recent_executions()
    with pytest.raises(CoordinatorNotRunning, match="nothing to control"):
        coordinator.drain_pool()
