"""When the parent may sleep although a core has published something."""

from __future__ import annotations

from time import monotonic_ns
from types import SimpleNamespace

import pytest

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.loops.timers import LOST_SECONDS, Alarm, Appointment
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.protocol.records import VALUE, encode


@pytest.fixture
def incarnation():
    """A core's process as the parent sees it, without the process."""
    mailbox = Mailbox.create(4096)
    yield Incarnation(1, SimpleNamespace(mailbox=mailbox), SimpleNamespace())
    mailbox.close()


def publish(incarnation, number):
    """Publish an outcome as the core's crew would."""
    writer = incarnation._mailbox.outcome_writer()
    assert writer.write(encode((number, VALUE, 1, 2, None)), 1)


def test_a_quiet_core_is_armed(incarnation):
    """With nothing published the parent may sleep, and has asked for the bell."""
    assert incarnation.arm()
    assert incarnation._words[page.OUTCOMES_ARMED]


def test_a_core_with_more_to_answer_for_will_ring(incarnation):
    """Outcomes of a core that holds more tokens than those can wait for its next ring."""
    publish(incarnation, 1)
    assert not incarnation.arm()
    assert incarnation._words[page.OUTCOMES_ARMED]
    assert incarnation.will_ring(held=2)


@pytest.mark.parametrize("held", [0, 1])
def test_the_last_outcomes_need_a_look(incarnation, held):
    """A core that has answered for everything will not ring again: it has to be looked at."""
    publish(incarnation, 1)
    assert not incarnation.arm()
    assert not incarnation.will_ring(held)
    incarnation.collect()
    assert [outcome.number for outcome in incarnation.arrived] == [1]
    assert not incarnation.arm()
    assert not incarnation.will_ring(held=9), "what was read and not settled needs another turn"
    incarnation.arrived.clear()
    assert incarnation.arm()


def test_a_core_that_sleeps_beside_blocked_tokens_needs_a_look(incarnation):
    """It has come to its pause, and found the parent awake: it will not ring again."""
    publish(incarnation, 1)
    incarnation._words[page.REQUESTS_ARMED] = 7
    assert not incarnation.arm()
    assert not incarnation.will_ring(held=2)


def test_a_hungry_core_needs_a_look(incarnation):
    """A crew with threads free has rung already: nothing it holds will make it ring again."""
    incarnation._words[page.HUNGRY] = 1
    assert not incarnation.arm()
    assert not incarnation.will_ring(held=5)
    assert incarnation.is_hungry()
    assert incarnation.arm()


class FakeLoop:
    """A loop whose timers go off when the test says so."""

    def __init__(self):
        self.timers = []
        self.now = 100.0

    def time(self):
        return self.now

    def call_later(self, seconds, action):
        self.timers.append(SimpleNamespace(seconds=seconds, action=action, cancelled=False))
        timer, at = self.timers[-1], self.now + seconds
        timer.when = lambda: at
        timer.cancel = lambda: setattr(timer, "cancelled", True)
        return timer


def test_an_alarm_is_set_once_however_often_it_is_asked():
    """Setting it again neither puts it off nor makes it go off twice; afterwards it can be set."""
    loop, went_off = FakeLoop(), []
    alarm = Alarm(loop, 0.5, lambda: went_off.append(alarm.set()))
    for _ in range(3):
        alarm.set()
    (first,) = loop.timers
    assert first.seconds == 0.5
    first.action()
    assert len(went_off) == 1
    assert len(loop.timers) == 2, "its own action may set it again"


def test_an_alarm_that_was_lost_is_set_anew():
    """Ctrl-C may come when the loop has taken its timer, and not come to its action."""
    loop = FakeLoop()
    alarm = Alarm(loop, 0.5, lambda: None)
    alarm.set()
    loop.now += 0.5 + LOST_SECONDS / 2
    alarm.set()
    assert len(loop.timers) == 1, "a loop may be late"
    loop.now += LOST_SECONDS
    alarm.set()
    assert [timer.cancelled for timer in loop.timers] == [True, False]


def test_a_cancelled_alarm_can_be_set_again():
    """Cancelling takes the timer back, and is nothing to one that is not set."""
    loop = FakeLoop()
    alarm = Alarm(loop, 0.5, lambda: None)
    alarm.cancel()
    alarm.set()
    alarm.cancel()
    alarm.set()
    assert [timer.cancelled for timer in loop.timers] == [True, False]


def test_an_appointment_that_was_lost_is_made_anew():
    """Its time is long past, and nothing was done; else an earlier one alone takes its place."""
    loop = FakeLoop()
    appointment = Appointment(loop, lambda: None)
    now = monotonic_ns()
    appointment.set(now)
    appointment.set(now + 1)
    assert len(loop.timers) == 1, "a loop may be late"
    appointment._at -= int(2 * LOST_SECONDS * 1e9)
    appointment.set(now + 1)
    assert [timer.cancelled for timer in loop.timers] == [True, False]
