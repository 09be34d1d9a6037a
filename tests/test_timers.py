"""Timers of an event loop: the earliest request wins, and a lost one is made anew."""

from __future__ import annotations

import asyncio
import contextvars
from types import SimpleNamespace

import pytest

from tokengate_mp.loops import timers
from tokengate_mp.loops.timers import LOST_NS, Timer

SECOND = 1_000_000_000


class FakeLoop:
    """A loop whose handles run when the test says so, and the clock that goes with it."""

    def __init__(self):
        self.handles = []
        self.now = 100 * SECOND

    def call_later(self, seconds, action, *, context):
        assert context is not None
        handle = SimpleNamespace(seconds=seconds, action=action, cancelled=False)
        handle.cancel = lambda: setattr(handle, "cancelled", True)
        self.handles.append(handle)
        return handle


@pytest.fixture
def loop(monkeypatch):
    """A loop, and the clock of the timers."""
    loop = FakeLoop()
    monkeypatch.setattr(timers, "monotonic_ns", lambda: loop.now)
    return loop


def test_a_timer_is_requested_once_however_often_it_is_asked(loop):
    """Further requests neither put it off nor make it run twice; its action may make the next."""
    ran = []
    timer = Timer(loop, lambda: ran.append(timer.run_within(0.5)))
    for _ in range(3):
        timer.run_within(0.5)
        loop.now += SECOND // 10
    (first,) = loop.handles
    assert first.seconds == 0.5
    first.action()
    assert len(ran) == 1
    assert [handle.cancelled for handle in loop.handles] == [False, False]


@pytest.mark.parametrize(
    "request_again", [lambda timer, _now: timer.run_within(0.5), lambda t, now: t.run_at(now)]
)
def test_a_timer_that_was_lost_is_requested_anew(loop, request_again):
    """Ctrl-C may come when the loop has taken its handle, and not come to its action."""
    timer = Timer(loop, lambda: None)
    timer.run_within(0.5)
    loop.now += SECOND // 2 + LOST_NS // 2
    request_again(timer, loop.now)
    assert len(loop.handles) == 1, "a loop may be late"
    loop.now += LOST_NS
    request_again(timer, loop.now)
    assert [handle.cancelled for handle in loop.handles] == [True, False]


def test_a_cancelled_timer_can_be_requested_again(loop):
    """Cancelling withdraws the request, and is nothing to a timer without one."""
    timer = Timer(loop, lambda: None)
    timer.cancel()
    timer.run_within(0.5)
    timer.cancel()
    timer.run_within(0.5)
    assert [handle.cancelled for handle in loop.handles] == [True, False]


def test_the_earliest_time_wins(loop):
    """An earlier time takes the place of a later one, in whichever way either was named."""
    timer = Timer(loop, lambda: None)
    timer.run_at(loop.now + 5 * SECOND)
    timer.run_at(loop.now + 6 * SECOND)
    timer.run_within(5.5)
    assert [handle.seconds for handle in loop.handles] == [5]
    timer.run_within(4)
    timer.run_at(loop.now + 3 * SECOND)
    assert [handle.seconds for handle in loop.handles] == [5, 4, 3]
    assert [handle.cancelled for handle in loop.handles] == [True, True, False]


def test_a_time_that_is_past_is_now(loop):
    """A loop is never asked for a time before the present."""
    Timer(loop, lambda: None).run_at(loop.now - SECOND)
    assert [handle.seconds for handle in loop.handles] == [0]


async def test_an_action_has_the_context_in_which_its_timer_was_made():
    """Whoever requests it, so that a notebook's cell does not get what belongs to no cell."""
    cell = contextvars.ContextVar("cell", default="none")
    seen = asyncio.get_running_loop().create_future()
    timer = Timer(asyncio.get_running_loop(), lambda: seen.set_result(cell.get()))
    contextvars.copy_context().run(lambda: (cell.set("a cell"), timer.run_within(0)))
    assert await seen == "none"
