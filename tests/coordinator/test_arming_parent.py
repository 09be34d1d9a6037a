"""When the parent may sleep although a core has published something."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.protocol.records import VALUE, encode


@pytest.fixture
def incarnation():
    """A core's process as the parent sees it, without the process."""
    mailbox = Mailbox.create(4096)
    yield Incarnation(1, SimpleNamespace(mailbox=mailbox), SimpleNamespace())
    mailbox.close_mailbox()


def publish(incarnation, number):
    """Publish an outcome as the core's crew would."""
    writer = incarnation._mailbox.outcome_writer()
    assert writer.append_records(encode((number, VALUE, 1, 2, None)), 1)


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
