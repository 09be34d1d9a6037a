"""What a user's object raises while it is loaded, described or delivered ends its token alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json

import hostile_objects as hostile
import pytest
from engine_work import impatient, work
from fakes import MS

from tokengate_mp import DependencyFailed, TokenState, WorkerLost
from tokengate_mp.bulk.feed import Feed
from tokengate_mp.bulk.pace import Pace
from tokengate_mp.config.option_table import token_options
from tokengate_mp.errors import RemoteError, RemoteTraceback, cause_of
from tokengate_mp.wire.payload.codec import to_pickle
from tokengate_mp.wire.protocol.batches import BatchOutcome, encode_batch
from tokengate_mp.wire.protocol.records import ENROL, PICKLED, RAISED, Enrolment, encode

OTHERS = 155

VALUES = [*hostile.VALUES, *hostile.REFUSALS]
ERRORS = [*hostile.ERRORS, *hostile.REFUSALS]

asked = work.options(operation_type="asked", retries=2, retry_on=(hostile.Asked, LookupError))


class Wave:
    """A hostile token among others, all of which one core holds.

    Args:
        rig: The engine.
        call: Makes the token.
    """

    def __init__(self, rig, call):
        self.rig = rig
        for _ in range(3):  # so that it is known how short they are, and a core gets them all
            for token in [work() for _ in range(4)]:
                rig.run()
                rig.core().finish(token, ns=100)
                rig.run()
        self.core = rig.core()
        self.others = [work(n) for n in range(OTHERS // 2)]
        self.token = call()
        self.others += [work(n) for n in range(OTHERS // 2, OTHERS)]
        rig.run()
        assert set(self.core.held) >= {token.number for token in self.others}

    def settle(self, outcome):
        """Finish all in one portion, the hostile token with an outcome, and run another wave."""
        for token in self.others[: OTHERS // 2]:
            self.core.finish(token, token.number)
        outcome()
        for token in self.others[OTHERS // 2 :]:
            self.core.finish(token, token.number)
        self.run()
        assert [token.result() for token in self.others] == [t.number for t in self.others]
        assert not self.rig.backend.condemned
        more = [work(n) for n in range(10)]
        self.run()
        self.rig.perform_all()
        assert [token.result() for token in more] == [(n,) for n in range(10)]
        for line in self.rig.engine.control_port.history_lines().splitlines():
            assert json.loads(line)

    def run(self):
        """Let the loop run; whatever comes out of it has gone too far."""
        try:
            self.rig.run()
        except BaseException as error:  # noqa: BLE001 - whatever it is
            pytest.fail(f"the engine raised {type(error)}")


@pytest.fixture
def make_wave(make_rig):
    """Make a wave with a token, by default a call of `work`."""
    return lambda call=work, **options: Wave(make_rig(**options), call)


def raised(wave, name):
    """Let the hostile token raise an exception."""
    wave.core._answer(wave.token, RAISED, hostile.encoded_error(name), MS)


def returned(wave, name):
    """Let the hostile token return a value."""
    wave.core.finish_pickled(wave.token, hostile.pickled_value(name))


def is_hostile(error):
    """Whether an error is the one that was raised, or what stands for it."""
    known = type(error) in {RemoteError, *hostile.ERRORS.values()}
    return known and type(cause_of(error)) is RemoteTraceback


@pytest.mark.parametrize("name", VALUES)
def test_a_result(make_wave, name):
    """It arrives, or an error says why it does not."""
    wave = make_wave()
    wave.settle(lambda: returned(wave, name))
    error = wave.token.exception()
    if name in hostile.REFUSALS:
        assert type(error).__name__ == "PayloadError"
        assert name.split()[0] in str(error)
    else:
        assert error is None
        assert type(wave.token.result()) is hostile.VALUES[name]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error(make_wave, name):
    """It arrives, or what stands for it."""
    wave = make_wave()
    wave.settle(lambda: raised(wave, name))
    assert is_hostile(wave.token.exception())
    assert wave.token.stage is TokenState.FAILED


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_after_which_the_token_is_run_again(make_wave, name):
    """As often as it has retries: the last error is told of those before."""
    wave = make_wave(impatient)
    wave.settle(lambda: raised(wave, name))
    for _ in range(2):
        assert wave.token.stage is TokenState.COMPLETED or not wave.token.done()
        if wave.token.done():
            return  # it was run again with the wave that followed
        raised(wave, name)
        wave.run()
    assert is_hostile(wave.token.exception())


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_all_runs(make_wave, name):
    """None of them can be told of the others, and the token ends all the same."""
    wave = make_wave(impatient)
    for _ in range(2):
        raised(wave, name)
        wave.run()
        assert not wave.token.done()
        assert wave.token.number in wave.core.held
    wave.settle(lambda: raised(wave, name))
    assert is_hostile(wave.token.exception())
    wave.rig.check_nothing_left()


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_before_the_process_is_lost(make_wave, name):
    """The loss is told of the error."""
    wave = make_wave(impatient, poison_limit=1)
    raised(wave, name)
    wave.run()
    wave.settle(lambda: wave.core.begin(wave.token))
    if not wave.token.done():
        wave.rig.backend.exit(wave.core)
        wave.rig.come_up()
        assert type(wave.token.exception()) is WorkerLost


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_that_is_compared_with_retry_on(make_wave, name):
    """Only its true type counts, and no class is asked."""
    wave = make_wave(asked)
    wave.settle(lambda: raised(wave, name))
    wave.rig.perform_all()
    again = name == "its metaclass raises"
    assert (wave.token.exception() is None) is again
    assert wave.token.operation.retried == again


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_of_a_dependency(make_wave, name):
    """Those that depend on it end with an error that describes it, as far as that goes."""
    wave = make_wave()
    second = work(wave.token)
    third = work(second)
    wave.settle(lambda: raised(wave, name))
    assert type(third.exception()) is DependencyFailed
    assert type(second.exception()) is DependencyFailed
    assert third.exception().reason == second.exception().reason
    assert is_hostile(third.exception().__cause__)


@pytest.mark.parametrize("name", VALUES)
def test_the_result_of_a_dependency(make_wave, name):
    """It is passed on in the bytes in which it came."""
    wave = make_wave()
    second = work(wave.token)
    wave.settle(lambda: returned(wave, name))
    assert second.done()
    if name not in hostile.REFUSALS:
        assert second.exception() is None or type(second.exception()) is not DependencyFailed


@pytest.mark.parametrize("name", list(hostile.VALUES))
def test_the_result_of_a_dependency_that_was_loaded(make_wave, name):
    """It is encoded anew for whoever comes later, or that one alone ends."""
    wave = make_wave()
    wave.settle(lambda: returned(wave, name))
    assert type(wave.token.result()) is hostile.VALUES[name]
    core, rig = wave.core, wave.rig
    rig.engine.control.pause_admission(paused=True)
    blocker = work()
    rig.run()
    try:
        later = work(wave.token, blocker)
    except BaseException as error:  # noqa: BLE001 - whatever its pickling raises, in the call
        assert not isinstance(error, AssertionError)  # noqa: PT017 - it is an odd one
        later = None
    rig.engine.control.pause_admission(paused=False)
    wave.run()
    core.finish(blocker, 1)
    wave.run()
    rig.perform_all()
    assert later is None or later.done()


@pytest.mark.parametrize("name", ERRORS)
def test_an_item_of_a_map(make_wave, name):
    """And the error of a whole batch: each ends where it belongs."""
    wave = make_wave()
    intake = wave.rig.engine.intake
    feed = Feed(intake, work.__wrapped__, token_options("map"), range(4), width=1, pace=Pace(2))
    feed.fill()
    wave.run()
    ours = [token.number for token in wave.others] + [wave.token.number]
    first, second = (number for number in wave.core.held if number not in ours)
    batch = BatchOutcome(1, [1, hostile.encoded_error(name)], [], [1])
    wave.core.finish(first, encode_batch(batch))
    wave.core._answer(second, RAISED, hostile.encoded_error(name), MS)
    wave.settle(lambda: wave.core.finish(wave.token))
    feed.fill()
    wave.run()
    assert feed.take_batch(ordered=True).outcome.values[0] == 1
    left = [number for number in wave.core.held if number not in ours]
    assert left, "no call was made: the items are sent again, each by itself"
    for number in left:
        wave.core._answer(number, RAISED, hostile.encoded_error(name), MS)
    wave.run()
    assert is_hostile(feed.take_batch(ordered=False).error)
    feed.stop_feed()


@pytest.mark.parametrize("name", ERRORS)
def test_a_future(make_wave, name):
    """A future of an executor has the error, and its callbacks may raise anything."""
    future = concurrent.futures.Future()
    future.add_done_callback(hostile.raising(SystemExit))
    wave = make_wave()
    wave.token = wave.rig.forward(work, future)
    wave.run()
    wave.settle(lambda: raised(wave, name))
    assert is_hostile(future.exception())


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_of_a_token_made_inside_a_token(make_wave, name):
    """It goes back as it came, and is loaded where somebody looks."""
    wave = make_wave()
    core, rig = wave.core, wave.rig
    outer = wave.token
    core.begin(outer)
    enrolment = core.enrol(work)
    seen, unseen = core.call(enrolment), core.call(enrolment)
    needing = core.call(enrolment, needs=[unseen])
    wave.run()
    shown = rig.nested.show(seen)
    for number in (seen, unseen):
        core.begin(number)
        core._answer(number, RAISED, hostile.encoded_error(name), MS)
    wave.settle(lambda: core.finish(outer))
    assert is_hostile(shown.exception())
    assert core.answers[unseen][0].value == hostile.encoded_error(name)
    assert rig.nested.show(unseen).exception() is not None
    assert type(rig.nested.show(needing).exception()) is DependencyFailed


@pytest.mark.parametrize("name", VALUES)
def test_the_result_of_a_token_made_inside_a_token(make_wave, name):
    """Likewise."""
    wave = make_wave()
    core, rig = wave.core, wave.rig
    core.begin(wave.token)
    enrolment = core.enrol(work)
    number = core.call(enrolment)
    wave.run()
    shown = rig.nested.show(number)
    core.begin(number)
    core._answer(number, PICKLED, hostile.pickled_value(name), MS)
    wave.settle(lambda: core.finish(wave.token))
    if name in hostile.REFUSALS:
        assert name.split()[0] in str(shown.exception())
    else:
        assert type(shown.result()) is hostile.VALUES[name]


@pytest.mark.parametrize("name", hostile.REFUSALS)
def test_options_that_cannot_be_loaded_end_the_calls_that_have_them(make_wave, name):
    """Calls inside tokens: their `retry_on` may name a class that this process does not find."""
    wave = make_wave()
    core, rig = wave.core, wave.rig
    core.begin(wave.token)
    enrolment = core.enrol(work)
    told = Enrolment(7 << 40, b"", "odd", "medium", hostile.pickled_value(name))
    core.write(encode((enrolment + 1, ENROL, 0, 0, encode(told))))
    core._enrolments.append(7 << 40)
    good, bad = core.call(enrolment), core.call(enrolment + 1)
    member = core.link(enrolment + 1, lead=wave.token)
    wave.run()
    tokens = [rig.nested.show(number) for number in (good, bad, member)]
    assert [token.done() for token in tokens] == [False, True, True]
    assert all(name.split()[0] in token.exception().reason for token in tokens[1:])
    core.heed()
    wave.settle(lambda: core.finish(wave.token))
    assert tokens[0].done()


def test_an_error_that_is_awaited(make_wave):
    """Whoever awaits it gets it; gather passes it on."""
    wave = make_wave()
    name = "__getattribute__ raises SystemExit"

    async def main():
        return await asyncio.gather(wave.token, wave.others[0], return_exceptions=True)

    task = wave.rig.loop.create_task(main())
    wave.settle(lambda: raised(wave, name))
    error, result = task.result()
    assert is_hostile(error)
    assert result == wave.others[0].number


def test_pickles_are_loaded_as_they_are_sent():
    """Or else the tests above show nothing."""
    assert to_pickle([1]) != hostile.pickled_value("__str__ raises ValueError")
    assert type(hostile.make_error("its metaclass raises")) is hostile.Asked
