"""When the parent may sleep although a core has published something."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tokengate_mp.cores import inbox
from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.protocol.records import VALUE, encode


@pytest.fixture
def glances():
    """Glances that were asked for."""
    return []


@pytest.fixture
def incarnation(glances):
    """A core's process as the parent sees it, without the process."""
    mailbox = Mailbox.create(4096)
    launched = SimpleNamespace(mailbox=mailbox, process=SimpleNamespace(pid=1))
    yield Incarnation(1, launched, None, glance=lambda: glances.append(1))
    mailbox.close_mailbox()


def publish(incarnation, number):
    """Publish an outcome as the core's crew would."""
    writer = incarnation._mailbox.outcome_writer()
    assert writer.append_records(encode((number, VALUE, 1, 2, None)), 1)


def test_a_quiet_core_is_armed(incarnation, glances):
    """With nothing published the parent may sleep, and has asked for the bell."""
    assert incarnation.may_sleep(held=1)
    assert incarnation._words[page.OUTCOMES_ARMED]
    assert not glances


def test_a_core_with_more_to_answer_for_will_ring(incarnation, glances):
    """Outcomes of a core that holds more tokens can wait for its next ring, or for a glance."""
    publish(incarnation, 1)
    assert incarnation.may_sleep(held=2)
    assert incarnation._words[page.OUTCOMES_ARMED]
    assert glances == [1]


@pytest.mark.parametrize("held", [0, 1])
def test_the_last_outcomes_need_a_look(incarnation, held):
    """A core that has answered for everything will not ring again: it has to be looked at."""
    publish(incarnation, 1)
    assert not incarnation.may_sleep(held)
    portion = incarnation.take()
    assert [outcome.number for outcome in portion.outcomes] == [1]
    assert portion.plain
    assert incarnation.may_sleep(held)


def test_outcomes_that_were_read_and_not_taken_need_another_turn(incarnation, monkeypatch):
    """However many tokens the core has to answer for besides."""
    monkeypatch.setattr(inbox, "PORTION", 1)
    publish(incarnation, 1)
    publish(incarnation, 2)
    first = incarnation.take()
    assert [outcome.number for outcome in first.outcomes] == [1]
    assert first.more
    assert not incarnation.may_sleep(held=9)
    assert not incarnation.take().more
    assert incarnation.take() is None
    assert incarnation.may_sleep(held=9)


def test_a_core_that_sleeps_beside_blocked_tokens_needs_a_look(incarnation):
    """A core in its pause, which found the parent awake, will not ring again."""
    publish(incarnation, 1)
    incarnation._words[page.REQUESTS_ARMED] = 7
    assert not incarnation.may_sleep(held=2)


def test_a_hungry_core_needs_a_look(incarnation):
    """A crew with threads free has rung already: nothing it holds will make it ring again."""
    incarnation._words[page.HUNGRY] = 1
    assert not incarnation.may_sleep(held=5)
    portion = incarnation.take()
    assert portion.hungry
    assert not portion.outcomes
    assert incarnation.take() is None
    assert incarnation.may_sleep(held=5)
