"""What an engine shows of itself: views from any thread, and the events of its life."""

from __future__ import annotations

import sys
import threading

import pytest
from engine_work import broken, impatient, limited, other, sticky, work

from tokengate_mp.errors import AdmissionRejected, TokenKilled
from tokengate_mp.observe import events
from tokengate_mp.observe.events import named
from tokengate_mp.observe.stats import stats


def happened(rig, *kinds):
    """The events of some kinds, by name and without their times."""
    told = [named(event) for event in rig.engine.control_port.events.read_since(0).events]
    for event in told:
        assert event.pop("time") > 0
    return [event for event in told if event["kind"] in kinds]


# ---- views


def test_a_view_at_rest_is_what_statistics_say(make_rig):
    """Taken in any thread, it comes to the same numbers as `get_stats`, and changes nothing."""
    rig = make_rig(2)
    rig.come_up()
    tokens = [work(n) for n in range(5)] + [sticky(1), sticky(1), limited(1), limited(2)]
    tokens[3].kill()
    rig.run()
    assert isinstance(rig.error_of(tokens[3]), TokenKilled)
    rig.begun(tokens[0])
    port, views = rig.engine.control_port, []
    thread = threading.Thread(target=lambda: views.append(port.take_view()))
    thread.start()
    thread.join()
    assert stats(views[0]) == port.stats()
    assert port.stats()["tokens"]["executing"] == 1
    rig.holder(tokens[0]).finish(tokens[0])
    rig.perform_all()
    assert stats(port.take_view()) == port.stats()
    assert port.stats()["tokens"]["completed"] == 8


def test_views_while_turns_are_taken_are_never_disturbed(make_rig):
    """A thread that looks all the time meets no error, and no count below zero or above all."""
    rig = make_rig(3)
    rig.come_up()
    port, going, seen, errors = rig.engine.control_port, True, [], []

    def look():
        while going:
            try:
                seen.append(port.take_view())
            except BaseException as error:
                errors.append(error)
                raise

    looking = threading.Thread(target=look)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        looking.start()
        made = 0
        for turn in range(60):
            functions = (work, other, sticky, limited, impatient)
            tokens = [function(turn) for function in functions for _ in range(8)]
            made += len(tokens)
            tokens[turn % 40].kill()
            rig.run()
            assert isinstance(rig.error_of(tokens[turn % 40]), TokenKilled)
            rig.perform_all()
            if turn % 20 == 10:
                rig.backend.exit(rig.core(1 + turn % 3))
                rig.come_up()
    finally:
        going = False
        looking.join()
        sys.setswitchinterval(interval)
    assert errors == []
    assert len(seen) > 10
    for view in seen:
        counts = stats(view)["tokens"]
        assert min(counts.values()) >= 0
        assert max(counts.values()) <= made


def test_a_view_says_when_the_last_turn_ended(make_rig):
    """Later after a turn, and the same without any."""
    rig = make_rig()
    rig.come_up()
    take = rig.engine.control_port.take_view
    work(1)
    rig.run()
    rig.perform_all()
    before = take().last_turn
    assert take().last_turn == before
    work(2)
    rig.run()
    assert take().last_turn >= before > 0
    rig.perform_all()


# ---- events


def test_a_portion_is_one_event(make_rig):
    """However many outcomes are in it, and not one for each."""
    rig = make_rig()
    rig.come_up()
    tokens = [work(n) for n in range(3)]
    rig.run()
    for token in tokens[:2]:
        rig.core().finish(token)
    rig.core().fail(tokens[2], ValueError("no"))
    rig.run()
    portions = happened(rig, events.PORTION)
    assert sum(event["outcomes"] for event in portions) == 3
    assert sum(event["failed"] for event in portions) == 1
    assert {event["core"] for event in portions} == {1}
    assert isinstance(rig.error_of(tokens[2]), ValueError)


def test_the_life_of_a_process_is_told(make_rig):
    """It is launched, takes over, and ends; its core may be given up."""
    rig = make_rig()
    rig.come_up()
    link = rig.core()
    pid = link.facts().pid
    rig.backend.exit(link, -9, restart=False)
    rig.backend.give_up(1, "no more")
    rig.run()
    kinds = (events.LAUNCHED, events.TOOK_OVER, events.EXITED, events.GIVEN_UP)
    told = happened(rig, events.OPENED, *kinds)
    assert [event["kind"] for event in told if event["kind"] != events.OPENED] == list(kinds)
    exited = next(event for event in told if event["kind"] == events.EXITED)
    assert (exited["core"], exited["pid"], exited["exitcode"]) == (1, pid, -9)
    assert told[-1] == {"kind": events.GIVEN_UP, "core": 1, "reason": "no more"}


def test_orders_are_told_with_what_came_of_them(make_rig):
    """Each order by way of the control port is one event, with the number of tokens it ended."""
    rig = make_rig()
    rig.come_up()
    port = rig.engine.control_port
    port.pause_admission()
    waiting = [work(n) for n in range(3)] + [other(n) for n in range(2)]
    port.pause_operation("other")
    assert port.kill_token(waiting[0].token_id, "one")
    assert port.kill_operation("other", "these") == 2
    assert port.drain(None, "all") == 2
    port.resume_operation("other")
    port.resume_admission()
    assert port.reset_operation("other") is False
    rig.run()
    assert {type(rig.error_of(token)) for token in waiting} == {TokenKilled}
    orders = (events.PAUSED, events.RESUMED, events.KILLED, events.DRAINED, events.RESET)
    assert happened(rig, *orders) == [
        {"kind": "paused", "operation": None},
        {"kind": "paused", "operation": "other"},
        {
            "kind": "killed",
            "operation": None,
            "token_id": waiting[0].token_id,
            "count": 1,
            "reason": "one",
        },
        {"kind": "killed", "operation": "other", "token_id": None, "count": 2, "reason": "these"},
        {"kind": "drained", "operation": None, "count": 2, "reason": "all"},
        {"kind": "resumed", "operation": "other"},
        {"kind": "resumed", "operation": None},
        {"kind": "reset", "operation": "other", "was_shut": False},
    ]


def test_a_breaker_that_opens_and_closes_is_told(make_rig):
    """Once each, by the operation's name."""
    rig = make_rig()
    rig.come_up()
    tokens = [broken(n) for n in range(2)]
    rig.run()
    for token in tokens:
        rig.core().fail(token, ValueError("no"))
    rig.run()
    kinds = (events.BREAKER_OPENED, events.BREAKER_CLOSED)
    assert happened(rig, *kinds) == [{"kind": "breaker_opened", "operation": "broken"}]
    assert rig.engine.control_port.reset_operation("broken")
    work(1)
    rig.run()
    rig.perform_all()
    assert happened(rig, *kinds)[1:] == [{"kind": "breaker_closed", "operation": "broken"}]
    assert all(isinstance(rig.error_of(token), ValueError) for token in tokens)


def test_backpressure_is_told_at_its_beginning_and_end(make_rig):
    """Refused calls are one event, and the room there is afterwards another."""
    rig = make_rig(max_pending=2, on_full="reject")
    rig.come_up()
    for n in range(2):
        work(n)
    for _ in range(3):
        with pytest.raises(AdmissionRejected):
            work(0)
    rig.run()
    rig.perform_all()
    kinds = (events.PRESSURE_BEGAN, events.PRESSURE_ENDED)
    assert [event["kind"] for event in happened(rig, *kinds)] == list(kinds)


def test_the_end_is_told(make_rig):
    """The last event of an engine says that it was closed."""
    rig = make_rig()
    rig.close()
    assert happened(rig, events.OPENED, events.CLOSED)[-1] == {"kind": "closed"}
