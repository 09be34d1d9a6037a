"""The event loops that the contract of a coordinator is tested with."""

from __future__ import annotations

import asyncio

import pytest


def _runner(kind: str) -> asyncio.Runner:
    if kind == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    # Its debug mode finds calls from the wrong thread. (The loop of a thread runs without it.)
    return asyncio.Runner(debug=True)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Run a coroutine function in each kind of event loop; its loop may report no exception."""

    def run(main, *args):
        reported = []
        with _runner(request.param) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _loop, context: reported.append(context))
            # A callback that is slow is what the machine makes of it, not what is tested.
            loop.slow_callback_duration = 60
            result = runner.run(main(*args))
        assert reported == []
        return result

    return run
