"""What a token costs does not depend on how many others wait."""

from __future__ import annotations

import pytest
from steps import steps
from tickets import MS, FakeTicket, Maker, held_by, numbers

from tokengate_mp.config.options import Policy
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.scheduler import Scheduler

FEW, MANY = 100, 1_600


def scheduler_with(cores):
    """A scheduler all of whose cores are ready, and what makes tickets for it."""
    scheduler = Scheduler(cores, 4, "work_conserving")
    for core in range(1, cores + 1):
        scheduler.core_ready(core)
    return scheduler, Maker(scheduler)


@pytest.mark.parametrize("keys", ["one", "many"])
def test_killing_what_is_paused_costs_the_same_for_each_token(keys):
    """Of tokens with keys, each of which hands on the place of the first one of its key."""
    costs = []
    for count in (FEW, MANY):
        scheduler, make = scheduler_with(2)
        scheduler.pause("work")
        tickets = make(count=count)
        apart = 1 if keys == "one" else count // 2
        calls = [(each, b"%d" % (at % apart), 0) for at, each in enumerate(tickets)]
        scheduler.anchored(calls, 0)

        def kill(scheduler=scheduler, tickets=tickets):
            for ticket in tickets:
                scheduler.killed(ticket)

        costs.append(steps(kill) / count)
        scheduler.validate()
    assert max(costs) < 1.2 * min(costs), costs


class Compared(FakeTicket):
    """A ticket that counts how often any is compared with another."""

    comparisons = 0

    def __eq__(self, other):
        Compared.comparisons += 1
        return self is other

    __hash__ = FakeTicket.__hash__


def compared(scheduler, count):
    """Tickets that count their comparisons."""
    operation = scheduler.operations.declare("work", "medium")
    return [Compared(number, operation) for number in range(1, count + 1)]


def never(_ticket):
    """Whether a token would wait for ever if its limit held it back."""
    return False


@pytest.mark.parametrize("key", [None, b"k"])
def test_a_claim_does_not_search_the_lane(key):
    """However many wait before it; and one that comes back waits once, in its old place."""
    costs = []
    for count in (FEW, MANY):
        scheduler, _ = scheduler_with(1)
        tickets = compared(scheduler, count)
        if key is None:
            scheduler.submitted(tickets)
        else:
            scheduler.anchored([(ticket, key, 0) for ticket in tickets], 0)
        scheduler.assign(0)
        waiting = [each for each in tickets if each.stage is TokenState.WAITING]
        claimed = waiting[-1:-10:-1]
        Compared.comparisons = 0

        def claim(scheduler=scheduler, claimed=claimed):
            for ticket in claimed:
                assert scheduler.claimed(ticket, 1, 0, 0, never)

        costs.append(steps(claim))
        assert Compared.comparisons == 0
        scheduler.validate()
        assert scheduler.accounts.waiting_count == len(waiting) - len(claimed)
        back = claimed[::2]
        scheduler.given_back(1, numbers(back))
        scheduler.validate()
        assert scheduler.accounts.waiting_count == len(waiting) - len(claimed) + len(back)
        assert numbers(scheduler.accounts.waiting_tickets())[: len(back)] == sorted(numbers(back))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("ending", ["raised", "lost"])
def test_one_that_was_claimed_and_is_to_run_again_waits_once(ending):
    """Though its lane had not let go of it yet."""
    scheduler, _ = scheduler_with(1)
    operation = scheduler.operations.declare("work", "medium", Policy(retries=1, idempotent=True))
    tickets = [FakeTicket(number, operation) for number in range(1, FEW)]
    scheduler.submitted(tickets)
    scheduler.assign(0)
    last = tickets[-1]
    before = scheduler.accounts.waiting_count
    assert scheduler.claimed(last, 1, 0, 0, never)
    if ending == "raised":
        scheduler.settle(1, [last.number], [MS], MS, failed={last.number: ValueError()})
        assert scheduler.accounts.waiting_count == before
    else:
        scheduler.core_lost(1, {last.number: OSError()}, MS)
        assert scheduler.accounts.waiting_count == len(tickets)
    scheduler.validate()
    waiting = scheduler.accounts.waiting_tickets()
    assert len(set(numbers(waiting))) == scheduler.accounts.waiting_count


def test_what_a_dead_core_held_is_not_searched_for_members_of_chains():
    """However many of them there are among the rest: none is compared with another."""
    scheduler, _ = scheduler_with(1)
    tickets = compared(scheduler, FEW)
    others, members = tickets[: FEW // 2], tickets[FEW // 2 :]
    scheduler.submitted(others)
    scheduler.assign(0)
    held = len(held_by(scheduler, 1))
    for ticket in members:
        scheduler.relations.joined(ticket, others[0].number, 1, 0)
    Compared.comparisons = 0
    scheduler.core_lost(1, {}, 0)
    assert Compared.comparisons == 0
    assert scheduler.accounts.waiting_count == len(tickets)
    assert held > 1
    scheduler.validate()


def test_one_that_a_core_holds_is_found_without_a_look_at_those_that_wait():
    """By its number, however many there are."""
    costs = []
    for count in (FEW, MANY):
        scheduler, make = scheduler_with(1)
        first, *_ = make.submit(count=count)
        scheduler.assign(0)

        def find(scheduler=scheduler, first=first):
            assert scheduler.accounts.find(first.number) is first

        costs.append(steps(find))
    assert costs[0] == costs[1]


def test_what_is_held_for_a_core_that_is_away_costs_the_others_nothing():
    """Nor what is held while its operation is paused: it is not looked through at each order."""
    costs = []
    for count in (FEW, MANY):
        scheduler, make = scheduler_with(2)
        (first,) = make.submit("heavy", "first")
        scheduler.assign(0)
        core = first.core
        for ticket in make(name="member", count=count):
            scheduler.relations.joined(ticket, first.number, core, 0)
        scheduler.core_lost(core, {}, 0)

        def order(scheduler=scheduler, make=make):
            make.submit("heavy", "other")
            scheduler.assign(0)

        order()
        cost = [steps(order)]
        scheduler.pause("member")
        scheduler.core_ready(core)
        order()
        cost.append(steps(order))
        costs.append(cost)
        scheduler.resume("member")
        assert len(scheduler.assign(0)[core]) >= count
        scheduler.validate()
    assert costs[0] == costs[1]
