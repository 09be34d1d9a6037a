"""Event loops that end before the coordinator does, or while somebody waits for them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest
import work

from tokengate_mp import CoordinatorNotRunning, OperationsCoordinator, TokenGateError


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
