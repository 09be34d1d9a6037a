"""The callbacks of tokens: what a loop promises of each holds for many that it sees as one."""

import asyncio
from contextvars import ContextVar, copy_context
from functools import partial

import pytest
import uvloop

from tokengate_mp.loops import callbacks
from tokengate_mp.loops.callbacks import UNTIMED, CallbackQueue

MANY = 1000
name = ContextVar("name", default="")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request):
    """Event loops of both kinds."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.get_loop()


@pytest.fixture
def handles(loop):
    """Handles that a loop was asked for, in a list; and the loop's front that asked."""
    asked = []

    class Counting:
        get_debug = loop.get_debug
        call_exception_handler = loop.call_exception_handler

        def call_soon(self, callback, *args, **kwargs):
            asked.append(callback)
            return loop.call_soon(callback, *args, **kwargs)

    return asked, CallbackQueue(Counting())


def run_once(loop):
    """Let the loop come once to everything that waits."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def futures(queue, count):
    """So many, none of which is done."""
    return [asyncio.Future(loop=queue) for _ in range(count)]


def ended(queue, callback):
    """A future that has ended, and has a callback."""
    future = asyncio.Future(loop=queue)
    future.add_done_callback(callback)
    future.set_result(None)


def test_many_callbacks_are_one_handle_and_are_called_in_their_order(loop, handles, monkeypatch):
    """A thousand futures end, and the loop is asked twice."""
    monkeypatch.setattr(callbacks, "monotonic_ns", lambda: 0)  # they take no time, on any machine
    asked, queue = handles
    called = []
    some = futures(queue, MANY)
    for future in some:
        future.add_done_callback(called.append)
    for future in some:
        future.set_result(None)
    assert called == []
    run_once(loop)
    run_once(loop)
    assert called == some
    assert len(asked) == 2  # one that calls, and one in case that does not come to all


def test_each_is_called_in_its_context(loop):
    """Context variables are those of who added the callback, and stay there."""
    queue = CallbackQueue(loop)
    seen = []

    def see(_future):
        seen.append(name.get())
        name.set("changed")

    some = futures(queue, 3)
    for index, future in enumerate(some):
        name.set(f"context {index}")
        future.add_done_callback(see, context=copy_context())
        future.set_result(None)
    name.set("")
    run_once(loop)
    assert seen == ["context 0", "context 1", "context 2"]
    assert name.get() == ""


def test_what_a_callback_raises_is_reported_and_the_others_are_called(loop):
    """The loop's exception handler gets it, with the future."""
    queue = CallbackQueue(loop)
    reported, called = [], []
    loop.set_exception_handler(lambda _loop, report: reported.append(report))
    first, second = futures(queue, 2)
    error = ValueError("of a callback")

    def fail(_future):
        raise error

    for future in (first, second):
        future.add_done_callback(fail)
        future.add_done_callback(called.append)
        future.set_result(None)
    run_once(loop)
    assert called == [first, second]
    assert [report["exception"] for report in reported] == [error, error]
    assert [report["future"] for report in reported] == [first, second]
    assert "fail" in reported[0]["message"]


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_one_loses_none_of_the_others(loop, ending):
    """It ends the loop, and those that had to wait are called when that runs again."""
    queue = CallbackQueue(loop)
    called = []

    def end(_future):
        raise ending

    some = futures(queue, 3)
    some[0].add_done_callback(called.append)
    some[1].add_done_callback(end)
    some[2].add_done_callback(called.append)
    for future in some:
        future.set_result(None)
    with pytest.raises(ending):
        loop.run_forever()
    assert called[0] is some[0]
    run_once(loop)
    assert called == [some[0], some[2]]


def test_callbacks_that_make_others_do_not_keep_the_loop_from_the_rest(loop):
    """Each of a row of callbacks makes the next one, and other work of the loop comes between."""
    queue = CallbackQueue(loop)
    rounds, seen = [], []

    def again(_future):
        rounds.append(None)
        if len(rounds) < MANY:
            ended(queue, again)

    def look():
        seen.append(len(rounds))
        loop.call_soon(look if len(seen) < 5 else loop.stop)

    ended(queue, again)
    loop.call_soon(look)
    loop.run_forever()
    assert seen == [1, 2, 3, 4, 5]


def test_the_loop_gets_a_turn_in_the_middle_of_long_ones(loop, monkeypatch):
    """Whenever the callbacks have taken their time, the loop comes to what else it has to do."""
    clock = iter(range(0, 1 << 62, callbacks.SPELL_NS // 2 + 1))
    monkeypatch.setattr(callbacks, "monotonic_ns", lambda: next(clock))
    queue = CallbackQueue(loop)
    called, seen = [], []
    for _ in range(3 * UNTIMED):
        ended(queue, called.append)

    def look():
        seen.append(len(called))
        loop.call_soon(look if len(seen) < 3 else loop.stop)

    loop.call_soon(look)
    loop.run_forever()
    assert seen == [UNTIMED, 2 * UNTIMED, 3 * UNTIMED]


def test_a_callback_can_be_taken_back_until_it_is_due(loop):
    """As with any future."""
    queue = CallbackQueue(loop)
    called = []
    future = asyncio.Future(loop=queue)
    future.add_done_callback(called.append)
    assert future.remove_done_callback(called.append) == 1
    future.set_result(None)
    run_once(loop)
    assert called == []


def test_a_loop_that_is_debugged_sees_each_by_itself(loop, handles):
    """It can name the one that was slow."""
    asked, queue = handles
    loop.set_debug(True)
    called = []
    some = [asyncio.Future(loop=queue) for _ in range(3)]
    for future in some:
        future.add_done_callback(called.append)
        future.set_result(None)
    assert len(asked) == 3
    run_once(loop)
    assert called == some


def test_a_callback_may_take_the_others_along(loop):
    """One that switches debug mode on: they go to the loop by themselves then, and none is lost."""
    reported = []
    loop.set_exception_handler(lambda _loop, report: reported.append(report))
    queue = CallbackQueue(loop)
    called = []

    def debug(_future):
        loop.set_debug(True)
        ended(queue, called.append)

    ended(queue, debug)
    for _ in range(3):
        ended(queue, called.append)
    run_once(loop)
    run_once(loop)
    assert (len(called), reported) == (4, [])


def test_a_loop_of_another_thread_may_be_there_at_once(loop):
    """The queue then asks anew for the next callback; asyncio forbids this, and does not notice."""

    class AtOnce:
        get_debug = loop.get_debug
        call_exception_handler = loop.call_exception_handler

        def call_soon(self, callback, *args):
            callback(*args)

    queue = CallbackQueue(AtOnce())
    called = []
    for count in range(1, 4):
        ended(queue, called.append)
        assert len(called) == count


def test_ctrl_c_while_the_loop_is_asked_keeps_none_from_being_called(loop):
    """What had to wait is called with the next one."""

    class Interrupted:
        get_debug = loop.get_debug
        call_exception_handler = loop.call_exception_handler
        pressed = True

        def call_soon(self, callback, *args):
            if self.pressed:
                self.pressed = False
                raise KeyboardInterrupt
            loop.call_soon(callback, *args)

    queue = CallbackQueue(Interrupted())
    called = []
    with pytest.raises(KeyboardInterrupt):
        ended(queue, called.append)
    ended(queue, called.append)
    run_once(loop)
    assert len(called) == 2


class Handles:
    """A loop whose handles are run, or lost, when the test says so."""

    def __init__(self, loop):
        self.get_debug = loop.get_debug
        self.call_exception_handler = loop.call_exception_handler
        self.ready = []

    def call_soon(self, callback, *args):
        self.ready.append(partial(callback, *args))

    def run(self):
        while self.ready:
            self.ready.pop(0)()


def test_a_callback_may_run_the_loop(loop):
    """As nest_asyncio has it: what ended together with it is called within."""
    handles = Handles(loop)
    queue = CallbackQueue(handles)
    called, within = [], []

    def nested(_future):
        handles.run()
        within.extend(called)

    ended(queue, nested)
    for _ in range(MANY):
        ended(queue, called.append)
    handles.run()
    assert len(within) == len(called) == MANY


def test_a_handle_that_ctrl_c_has_lost_is_renewed(loop):
    """Ctrl-C may come when the loop has taken the handle and has not come to its callback."""
    handles = Handles(loop)
    queue = CallbackQueue(handles)
    called = []
    queue.renew()
    assert handles.ready == []
    ended(queue, called.append)
    handles.ready.clear()
    ended(queue, called.append)
    handles.run()
    assert called == []
    queue.renew()
    handles.run()
    assert len(called) == 2


def test_handles_that_are_renewed_do_not_add_up(loop, monkeypatch):
    """However often that is done while callbacks take long, one handle at a time calls them."""
    clock = iter(range(0, 1 << 62, callbacks.SPELL_NS // 2 + 1))
    monkeypatch.setattr(callbacks, "monotonic_ns", lambda: next(clock))
    handles = Handles(loop)
    queue = CallbackQueue(handles)
    called = []
    for _ in range(10 * UNTIMED):
        ended(queue, called.append)
    for past in range(1, 11):
        for _ in range(3):
            queue.renew()
        due, handles.ready = handles.ready, []
        for handle in due:
            handle()
        assert len(called) == past * UNTIMED


def test_a_closed_loop_says_so_each_time():
    """A callback that cannot be called is no secret."""
    loop = asyncio.new_event_loop()
    queue = CallbackQueue(loop)
    some = futures(queue, 2)
    for future in some:
        future.add_done_callback(print)
    loop.close()
    for future in some:
        with pytest.raises(RuntimeError, match="closed"):
            future.set_result(None)


def test_what_else_a_future_asks_of_its_loop_is_the_loops(loop):
    """Such as to report an exception that nobody has seen."""
    reported = []
    loop.set_exception_handler(lambda _loop, report: reported.append(report["message"]))
    queue = CallbackQueue(loop)
    future = asyncio.Future(loop=queue)
    future.set_exception(ValueError("nobody looks"))
    del future
    assert reported == ["Future exception was never retrieved"]
