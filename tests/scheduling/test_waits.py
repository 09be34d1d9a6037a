"""Who would wait for ever: single cases, which the machine of claims finds seldom."""

from __future__ import annotations

from crews import FakeSeat
from tickets import FakeNestedTicket, FakeTicket

from tokengate_mp.config.options import Policy
from tokengate_mp.scheduling.nested.claims import Claims
from tokengate_mp.scheduling.nested.waits import Waits
from tokengate_mp.scheduling.scheduler import Scheduler


def test_an_ended_token_below_one_that_waits_makes_no_room():
    """It counts until its core answers, and its thread is busy on top of it: the claim passes."""
    scheduler = Scheduler(1, 1, "work_conserving")
    scheduler.core_ready(1)
    seats = {1: FakeSeat(1, 1)}
    claims = Claims(scheduler, scheduler.accounts, seats, Waits(scheduler.accounts, seats))
    operation = scheduler.operations.declare("two", "medium", Policy(max_running=2))
    (thread,) = seats[1].threads
    below = FakeTicket(1, operation)
    scheduler.submitted([below])
    for number in (2, 3):
        scheduler.assign(0)
        thread.begin(below)
        awaited = FakeNestedTicket(number, operation)
        scheduler.submitted([awaited])
        thread.awaited[-1] = awaited
        claims.claim(awaited, seats[1], below.number)
        if number == 2:
            assert claims.grant(0).send == [(awaited, 1)]
            below = awaited
    scheduler.killed(thread.stack[0])
    assert claims.grant(0).send == [(awaited, 1)]
    scheduler.validate()
    claims.validate()


def test_an_ended_token_that_no_thread_comes_to_is_asked_back():
    """It counts until its core answers, and each thread there waits."""
    scheduler = Scheduler(1, 1, "work_conserving")
    scheduler.core_ready(1)
    seats = {1: FakeSeat(1, 1)}
    claims = Claims(scheduler, scheduler.accounts, seats, Waits(scheduler.accounts, seats))
    operation = scheduler.operations.declare("one", "medium", Policy(max_running=1))
    (thread,) = seats[1].threads
    maker = FakeTicket(1, scheduler.operations.declare("free", "medium"))
    behind = FakeTicket(2, operation)
    scheduler.submitted([maker])
    scheduler.assign(0)
    thread.begin(maker)
    scheduler.relations.joined(behind, maker.number, 1, 0)
    scheduler.killed(behind)
    awaited = FakeNestedTicket(3, operation)
    scheduler.submitted([awaited])
    thread.awaited[-1] = awaited
    claims.claim(awaited, seats[1], maker.number)
    orders = claims.grant(0)
    assert (orders.send, orders.recall) == ([], [1])
    scheduler.given_back(1, [behind.number])
    assert claims.grant(0).send == [(awaited, 1)]
    scheduler.validate()
