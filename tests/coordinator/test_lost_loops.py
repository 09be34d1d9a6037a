"""Event loops that end before the coordinator does, or while somebody waits for them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
import work
from gates import Gate

from tokengate_mp import CoordinatorNotRunning, OperationsCoordinator, TokenGateError

JOB = """
from tokengate_mp import OperationsCoordinator, task_token_guard

@task_token_guard()
def square(n):
    return n * n

with OperationsCoordinator(cores=1):
    try:
        square(3).get()
    except Exception as error:
        print(type(error).__name__, "core process" in str(error))
"""


@pytest.mark.parametrize("use", ["get", "cancel", "kill"])
def test_whoever_meets_a_stop_is_not_left_waiting(use):
    """Threads that use tokens while the coordinator stops all come back, one way or the other."""
    for _ in range(5):
        coordinator = OperationsCoordinator(cores=1).start()
        tokens = [work.square(n) for n in range(400)]
        begun = threading.Barrier(5)

        def use_all(tokens=tokens, begun=begun):
            begun.wait()
            for token in tokens:
                with suppress(TokenGateError, asyncio.CancelledError):
                    getattr(token, use)()

        threads = [threading.Thread(target=use_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()
        coordinator.stop()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert all(token.done() for token in tokens)


def test_stop_within_a_with_block():
    """Whoever stops early has stopped: the end of the block has nothing left to do."""
    with OperationsCoordinator(cores=1) as coordinator:
        assert work.square(2).get() == 4
        coordinator.stop()


def test_get_that_gives_up_leaves_nothing_at_the_token():
    """Asking a token again and again whether it is done does not make it grow."""
    with Gate() as gate, OperationsCoordinator(cores=1) as coordinator:
        token = work.gated(gate.address)
        gate.arrivals()
        for _ in range(20):
            with pytest.raises(TimeoutError):
                token.get(0.001)
        coordinator.get_stats()  # goes through the loop, behind what was posted to it
        assert not token._callbacks
        gate.open()
        token.get()


def test_a_module_that_starts_a_coordinator_when_imported(tmp_path):
    """Its core processes are refused one of their own, and start no processes without end."""
    (tmp_path / "job.py").write_text(JOB)
    done = subprocess.run(
        [sys.executable, "-c", "import job"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("CoordinatorRunning True\n", "")


def test_a_closed_loop_takes_no_calls():
    """A call to a coordinator whose loop has ended raises, and a new coordinator can be started."""

    async def left_running():
        OperationsCoordinator(cores=1).start()
        return work.square(3)

    async def called():
        with pytest.raises(CoordinatorNotRunning, match="loop that is closed"):
            work.square(4)
        async with OperationsCoordinator(cores=1):
            return await work.square(5)

    left = asyncio.run(left_running())
    with pytest.raises(CoordinatorNotRunning, match="loop"):
        left.get()
    assert asyncio.run(called()) == 25
    assert left.done()
