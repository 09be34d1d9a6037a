from __future__ import annotations

import signal

import pytest
from engine_work import impatient, retried, timed, work
from fakes import MS

from tokengate_mp import PayloadError, TokenState
from tokengate_mp.engine.engine import TURN_NS
from tokengate_mp.errors import RemoteTraceback
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.tokens.observers import add_observer, remove_observer
from tokengate_mp.wire.payload.codec import to_pickle
from tokengate_mp.wire.protocol.records import CALL, CUT, DROPPED, GIVEN_BACK, VALUE, encode

NONSENSE = {
    "no record": lambda _token: b"\xc1",
    "no kind": lambda token: encode((token.number, 63, 0, 0, 0)),
    "no token": lambda token: encode((token.number + 1, VALUE, 0, 0, 0)),
    "nothing to drop": lambda token: encode((token.number + 1, DROPPED, 0, 0, 0)),
    "nothing to give back": lambda token: encode((token.number + 1, GIVEN_BACK, 0, 0, 0)),
    "a cut to nothing": lambda token: encode((token.number, CUT, 0, 0, 0)),
    "an unknown enrolment": lambda token: encode((1 << 41, CALL, 0, 99, encode((0, 0, [])))),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_process_that_writes_nonsense_is_ended(make_rig, nonsense):
    """Its tokens are run by the next one, and nobody else notices."""
    rig = make_rig(2)
    tokens = [work(n) for n in range(2)]
    rig.run()
    bad = rig.holder(tokens[0])
    bad.write(NONSENSE[nonsense](tokens[0]))
    rig.run()
    assert rig.backend.condemned == [bad]
    rig.holder(tokens[1]).finish(tokens[1], "well")
    rig.run()
    assert tokens[1].result() == "well"
    rig.backend.exit(bad)
    rig.come_up()
    rig.perform_all()
    assert tokens[0].result() == (0,)
    rig.check_nothing_left()


VALUES = [None, True, 1.5, "text", b"bytes", (1, 2), [1], {1: {2}}, 1 << 80, work]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_arrives_as_it_was(make_rig, value):
    """Whether msgpack keeps it or it has to be pickled."""
    rig = make_rig()
    token = work()
    rig.run()
    rig.core().finish(token, value)
    rig.run()
    assert token.result() == value
    assert type(token.result()) is type(value)
    assert token.stage is TokenState.COMPLETED


def test_an_error_arrives_with_the_traceback_of_the_core(make_rig):
    """As its cause."""
    rig = make_rig()
    token = work()
    rig.run()
    rig.core().fail(token, LookupError("nothing there"))
    rig.run()
    error = rig.error_of(token)
    assert isinstance(error, LookupError)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert token.stage is TokenState.FAILED


def test_a_result_that_cannot_be_loaded_fails_its_token_alone(make_rig):
    """With an error that says so."""
    rig = make_rig()
    bad, good = work(), work()
    rig.run()
    rig.core().finish_pickled(bad, b"no pickle")
    rig.core().finish(good, [1])
    rig.run()
    assert isinstance(rig.error_of(bad), PayloadError)
    assert good.result() == [1]


def test_a_result_that_others_need_is_loaded_when_it_is_looked_at(make_rig):
    """Until then it is the pickle that they are sent."""
    rig = make_rig()
    first = work()
    second = work(first)
    rig.run()
    rig.core().finish(first, {"a": 1})
    rig.run()
    rig.core().perform(second)
    rig.run()
    assert second.result() == ({"a": 1},)
    assert first.result() == {"a": 1}
    rig.check_nothing_left()


def test_a_token_whose_result_was_set_by_its_holder_keeps_that(make_rig, caplog):
    """Neither a result nor an error takes its place, and it is counted as what it came to."""
    rig = make_rig()
    tokens = [work(n) for n in range(2)]
    for token in tokens:
        token.set_result("mine")
    rig.run()
    rig.core().finish(tokens[0], 1)
    rig.core().fail(tokens[1], ValueError())
    rig.run()
    assert [token.result() for token in tokens] == ["mine", "mine"]
    assert caplog.records == []
    assert [token.stage for token in tokens] == [TokenState.COMPLETED, TokenState.FAILED]
    rig.check_nothing_left()


def test_what_became_of_tokens_is_remembered(make_rig):
    """The latest first, with the time that each ran and with the text of its error."""
    rig = make_rig()
    good, bad, killed = (work(n) for n in range(3))
    rig.run()
    rig.core().finish(good, ns=5)
    rig.run()
    rig.core().fail(bad, ValueError("no"))
    rig.run()
    killed.kill("enough")
    entries = rig.engine.control_port.recent_executions(10)
    assert [entry["token_id"] for entry in entries] == [
        token.token_id for token in (killed, bad, good)
    ]
    assert [entry["state"] for entry in entries] == ["killed", "failed", "completed"]
    assert entries[1]["error"] == "ValueError: no"
    assert entries[2]["finished"] - entries[2]["started"] == 5
    assert rig.core().heed() == [killed.number]


def test_observers_are_told_of_a_portion_at_a_time(make_rig):
    """In the order in which its outcomes arrived."""
    rig = make_rig()
    told = []

    class Observer:
        def tokens_ended(self, tokens, /):
            told.append([token.number for token in tokens])

    observer = Observer()
    tokens = [work(n) for n in range(3)]
    rig.run()
    add_observer(observer)
    try:
        for token in reversed(tokens):
            rig.core().finish(token)
        rig.run()
    finally:
        remove_observer(observer)
    assert told == [[token.number for token in reversed(tokens)]]


class CtrlCAtText(Exception):
    """An error that is being described here, once, when somebody presses Ctrl-C."""

    pressed = True

    def __str__(self):
        if not CtrlCAtText.pressed:
            CtrlCAtText.pressed = True
            signal.raise_signal(signal.SIGINT)
        return "described"


@pytest.mark.parametrize("function", [work, impatient], ids=["once", "run again"])
def test_ctrl_c_while_an_error_is_described_loses_nothing(make_rig, function):
    """It goes on to who runs the loop, when the whole portion is settled, delivered and noted."""
    rig = make_rig()
    tokens = [function(n) for n in range(3)]
    rig.run()
    for _ in range(function.token_options.policy.retries):
        rig.core().fail(tokens[1], CtrlCAtText())
        rig.run()
    rig.core().finish(tokens[0], "before")
    rig.core().fail(tokens[1], CtrlCAtText())
    rig.core().finish(tokens[2], "after")
    CtrlCAtText.pressed = False
    with pytest.raises(KeyboardInterrupt):
        rig.run()
    assert CtrlCAtText.pressed
    assert [token.done() for token in tokens] == [True] * 3
    assert isinstance(tokens[1].exception(), CtrlCAtText)
    assert [tokens[0].result(), tokens[2].result()] == ["before", "after"]
    noted = {entry["token_id"] for entry in rig.engine.control_port.recent_executions(10)}
    assert noted == {token.token_id for token in tokens}
    rig.run()
    rig.check_nothing_left()


def test_a_failed_token_is_run_again_after_its_pause(make_rig):
    """As often as it has retries, and then fails with the last error, which knows the others."""
    rig = make_rig()
    token = retried("a")
    for run in range(3):
        rig.run()
        assert token.stage is TokenState.ADMITTED
        rig.core().fail(token, ValueError(f"run {run}"))
        rig.run()
        if run < 2:
            assert token.stage is TokenState.WAITING
            rig.after(0.4)
            assert token.stage is TokenState.WAITING
            rig.after(4.0)
    error = rig.error_of(token)
    assert str(error) == "run 2"
    assert str(error.__context__) == "run 1"
    rig.check_nothing_left()


def test_a_token_without_a_pause_is_run_again_at_once(make_rig):
    """And completes if that run does."""
    rig = make_rig()
    token = impatient("a")
    rig.run()
    rig.core().fail(token, ValueError())
    rig.run()
    rig.core().perform(token)
    rig.run()
    assert token.result() == ("a",)
    rig.check_nothing_left()


def test_a_token_that_is_late_ends_and_its_core_is_told(make_rig):
    """What the core then makes of it is dropped."""
    rig = make_rig()
    token, other = timed(), work()
    rig.run()
    core = rig.begun(token)
    rig.after(1.0)
    assert isinstance(rig.error_of(token), TimeoutError)
    assert core.interrupted == [token.number]
    core.finish(token, "late")
    core.finish(other, "well")
    rig.run()
    assert isinstance(token.exception(), TimeoutError)
    assert other.result() == "well"
    assert token.stage is TokenState.TIMEOUT
    rig.check_nothing_left()


class Slow:
    """A value that takes so long to load as a turn may take."""

    loop = None

    def __reduce__(self):
        return take_a_turn, ()


def take_a_turn():
    """Let as much time pass as a turn may take, and some more."""
    Slow.loop.now += TURN_NS + 1
    return Slow.loop.now


def test_results_are_loaded_for_as_long_as_a_turn_may_take(make_rig):
    """What there is no time for is settled after the loop has come to everybody else."""
    rig = make_rig()
    Slow.loop, order = rig.loop, []
    tokens = [work(n) for n in range(4)]
    rig.run()
    for token in tokens:
        token.add_done_callback(lambda token: order.append(token.number))
        rig.core().finish_pickled(token, to_pickle(Slow()))
    rig.loop.call_soon(lambda: rig.loop.call_soon(order.append, "another"))
    rig.run()
    assert all(token.done() for token in tokens)
    assert order.index("another") < 2
    assert [number for number in order if number != "another"] == [t.number for t in tokens]
    rig.check_nothing_left()


class Receiving:
    """A recipient of a batch."""

    def __init__(self):
        self.got = []

    def set_result(self, result, /):
        self.got.append(result)

    def set_exception(self, error, /):
        self.got.append(error)

    def cancel(self):
        self.got.append("cancelled")

    def cut(self, count, /):
        self.got.append(count)


def test_a_batch_is_told_when_it_was_cut(make_rig):
    """Unless it has ended by then."""
    rig = make_rig()
    first, second = Receiving(), Receiving()
    tokens = [rig.forward(work, recipient) for recipient in (first, second)]
    assert all(type(token) is ForwardingToken for token in tokens)
    rig.run()
    rig.core().cut(tokens[0], 5)
    rig.run()
    rig.core().finish(tokens[0], "a")
    rig.core().finish(tokens[1], "b")
    rig.core().cut(tokens[1], 5)
    rig.run()
    assert first.got == [5, "a"]
    assert second.got == ["b"]


def test_a_core_that_is_hungry_gets_more(make_rig):
    """Though it holds more already than it would be sent otherwise."""
    rig = make_rig(threads_per_core=4)
    tokens = [work(n) for n in range(16)]
    rig.run()
    core = rig.core()
    for number in core.held:
        core.finish(number, ns=100 * MS)
    rig.run()
    before = len(core.held)
    assert before < 4
    for number in list(core.unbegun):
        core.begin(number)
    core.be_hungry()
    rig.run()
    assert len(core.held) > before
    assert not all(token.done() for token in tokens)
