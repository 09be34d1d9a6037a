"""The event loops that the contract of a coordinator is tested with."""

from __future__ import annotations

import asyncio
import sys

import pytest


def _runner(kind: str) -> asyncio.Runner:
    if kind == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    # Its debug mode finds calls from the wrong thread. (The loop of a thread runs without it.)
    return asyncio.Runner(debug=True)


BOTH = {"test_forms"}
"""What is tested in both kinds of loop on every Python: how a coordinator lives in one."""

if sys.version_info < (3, 12):  # the oldest, on which all tests are run
    BOTH |= {"test_controls", "test_lost_loops", "test_threads", "test_tokens"}


def pytest_generate_tests(metafunc):
    """Choose the kinds of event loop."""
    if "run" in metafunc.fixturenames:
        both = metafunc.module.__name__ in BOTH
        metafunc.parametrize("run", ["asyncio", "uvloop"] if both else ["asyncio"], indirect=True)


@pytest.fixture
def run(request):
    """Run a coroutine function in an event loop of some kind, which may report no exception."""

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
