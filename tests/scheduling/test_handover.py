"""Processes that take over from each other, as the scheduler accounts for them."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tickets import MS, Maker, held_by, numbers

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.scheduler import Scheduler


def scheduler_with(cores, quota=None):
    """A scheduler of four-thread cores, each with a process of that quota, and a maker."""
    scheduler = Scheduler(cores, 4, "work_conserving")
    for core in range(1, cores + 1):
        scheduler.handover.begin_process(core, quota)
        scheduler.core_ready(core)
    return scheduler, Maker(scheduler)


def take_over(scheduler, core, quota=None):
    """Let a core have another process, and give the seat of the old one."""
    seat = scheduler.handover.relieve(core)
    scheduler.handover.begin_process(core, quota)
    scheduler.core_ready(core)
    return seat


def test_the_next_process_begins_with_nothing():
    """What the old one holds does not count against its core's window."""
    scheduler, maker = scheduler_with(1)
    scheduler.submitted(first := maker(count=5000))
    (before,) = scheduler.assign(0).values()
    assert 0 < len(before) < len(first)
    assert scheduler.assign(0) == {}
    seat = take_over(scheduler, 1)
    (after,) = scheduler.assign(0).values()
    assert len(after) == min(len(before), len(first) - len(before))
    assert numbers(held_by(scheduler, seat).values()) == numbers(before)
    assert numbers(held_by(scheduler, 1).values()) == numbers(after)
    assert {scheduler.accounts.seat_of(ticket) for ticket in before} == {seat}
    assert {ticket.core for ticket in first[: len(before) + len(after)]} == {1}
    scheduler.validate()


def test_the_next_process_has_no_blocked_tokens():
    """Those of the old one give no time to what the new one is sent, then or ever after."""
    scheduler, maker = scheduler_with(1)
    held = maker.submit(count=3)
    scheduler.assign(0)
    scheduler.hungry(1, numbers(held))
    seat = take_over(scheduler, 1)
    scheduler.validate()
    maker.submit(count=5000)
    (sent,) = scheduler.assign(0).values()
    fresh, others = scheduler_with(1)
    others.submit(count=5000)
    assert len(sent) == len(fresh.assign(0)[1])
    scheduler.settle(seat, numbers(held), [MS] * 3, MS)
    scheduler.validate()


def test_between_two_processes_a_core_gets_nothing():
    """From when one is relieved until the next one is ready."""
    scheduler, maker = scheduler_with(1)
    scheduler.handover.relieve(1)
    maker.submit()
    assert scheduler.assign(0) == {}
    assert not scheduler.accounts.has_room
    scheduler.core_ready(1)
    assert [len(sent) for sent in scheduler.assign(0).values()] == [1]


def test_a_relieved_process_makes_room_for_nothing():
    """Its outcomes, what it gives back, and its crew's hunger open no core."""
    scheduler, maker = scheduler_with(1)
    held = maker.submit(count=3)
    scheduler.assign(0)
    seat = scheduler.handover.relieve(1)
    scheduler.hungry(seat)
    scheduler.settle(seat, [held[0].number], [MS], MS)
    scheduler.given_back(seat, [held[1].number])
    scheduler.all_threads_wait(seat)
    assert not scheduler.accounts.has_room
    assert scheduler.assign(MS) == {}
    assert [ticket.stage for ticket in held] == [
        TokenState.COMPLETED,
        TokenState.WAITING,
        TokenState.ADMITTED,
    ]
    scheduler.validate()


@pytest.mark.parametrize("quota", [1, 3, 4])
def test_a_quota_is_never_exceeded(quota):
    """The core is closed with the last token of it, also when those have ended."""
    scheduler, maker = scheduler_with(1, quota)
    maker.submit(count=50)
    (sent,) = scheduler.assign(0).values()
    assert len(sent) == quota
    assert scheduler.handover.is_closed(1)
    scheduler.settle(1, numbers(sent), [MS] * quota, MS)
    assert scheduler.assign(MS) == {}
    assert scheduler.handover.answered_by_process(1) == quota
    take_over(scheduler, 1, quota)
    assert not scheduler.handover.is_closed(1)
    assert scheduler.handover.answered_by_process(1) == 0
    (sent,) = scheduler.assign(MS).values()
    assert len(sent) == quota
    assert scheduler.snapshot().cores[0].answered == quota
    scheduler.validate()


def test_outcomes_of_a_relieved_process_are_its_own():
    """They count for its core, and not for the process that followed."""
    scheduler, maker = scheduler_with(1)
    maker.submit(count=2)
    (sent,) = scheduler.assign(0).values()
    seat = take_over(scheduler, 1)
    scheduler.settle(seat, numbers(sent), [MS, MS], MS)
    assert scheduler.snapshot().cores[0].answered == 2
    scheduler.core_lost(seat, {}, MS)
    scheduler.handover.end_draining(seat)
    assert scheduler.snapshot().cores[0].answered == 2
    assert scheduler.handover.answered_by_process(1) == 0
    assert scheduler.handover.relieve(1) == seat  # which is free again


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_placed_and_not_sent_is_not_left_with_the_old_process(killed):
    """A dependent that is to go home waits for the next process; the old one can be dismissed."""
    scheduler, maker = scheduler_with(2)
    (ticket,) = maker()
    scheduler.relations.withheld(ticket, [])
    scheduler.relations.released(ticket, None, 0, 0, home=1)
    assert ticket.number in held_by(scheduler, 1)
    if killed:
        scheduler.killed(ticket)
    seat = take_over(scheduler, 1)
    scheduler.validate()
    assert not held_by(scheduler, seat)
    sent = [ticket for tickets in scheduler.assign(MS).values() for ticket in tickets]
    assert sent == ([] if killed else [ticket])
    scheduler.validate()


class HandoverMachine(RuleBasedStateMachine):
    """Processes by a number of their own, each with its seat and what it was sent."""

    @initialize(cores=st.integers(1, 3), quota=st.sampled_from([None, 1, 4]))
    def start(self, cores, quota):
        self.quota = quota
        self.scheduler, self.maker = scheduler_with(cores, quota)
        self.now = 0
        self.made = []
        self.sent = {seat: [] for seat in range(1, cores + 1)}
        self.unsent = {seat: [] for seat in self.sent}
        self.total = dict.fromkeys(self.sent, 0)
        self.cores = range(1, cores + 1)

    @rule(count=st.integers(1, 30), weight=st.sampled_from(["light", "medium", "heavy"]))
    def submit(self, count, weight):
        self.made += self.maker.submit(weight, weight, count)
        self.assign()

    @rule(data=st.data())
    def release(self, data):
        core = data.draw(st.sampled_from(self.cores))
        (ticket,) = self.maker()
        self.made.append(ticket)
        self.scheduler.relations.withheld(ticket, [])
        self.scheduler.relations.released(ticket, None, 0, self.now, home=core)
        if ticket.stage is TokenState.ADMITTED:  # and it is sent with the next order
            self.unsent[core].append(ticket.number)

    def assign(self):
        for unsent in self.unsent.values():
            unsent.clear()
        for core, tickets in self.scheduler.assign(self.now).items():
            assert core in self.cores
            self.sent[core] += numbers(tickets)
            self.total[core] += len(tickets)
            assert self.quota is None or self.total[core] <= self.quota

    def draw(self, data):
        seat = data.draw(st.sampled_from([s for s, held in self.sent.items() if held]))
        chosen = data.draw(st.lists(st.sampled_from(self.sent[seat]), min_size=1, unique=True))
        self.sent[seat] = [n for n in self.sent[seat] if n not in chosen]
        return seat, chosen

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data())
    def settle(self, data):
        self.now += MS
        seat, chosen = self.draw(data)
        self.scheduler.settle(seat, chosen, [MS] * len(chosen), self.now)
        self.assign()

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data())
    def give_back(self, data):
        seat, chosen = self.draw(data)
        self.scheduler.given_back(seat, chosen)
        self.assign()

    @rule(data=st.data(), running=st.integers(1, 4))
    def hungry(self, data, running):
        seat = data.draw(st.sampled_from(sorted(self.sent)))
        self.scheduler.hungry(seat, self.sent[seat][:running])
        self.assign()

    @rule(data=st.data())
    def take_over(self, data):
        core = data.draw(st.sampled_from(self.cores))
        seat = take_over(self.scheduler, core, self.quota)
        assert seat not in self.sent
        self.sent[seat], self.sent[core] = self.sent[core], []
        self.unsent[core] = []
        self.total[core] = 0
        self.assign()

    @rule(data=st.data())
    def lose(self, data):
        seat = data.draw(st.sampled_from(sorted(self.sent)))
        held = self.sent[seat]
        running = data.draw(st.sets(st.sampled_from(held))) if held else set()
        lost = self.scheduler.core_lost(seat, dict.fromkeys(running, OSError()), self.now)
        assert set(numbers(lost)) == running
        if seat in self.cores:
            self.sent[seat], self.unsent[seat] = [], []
            self.total[seat] = 0
            self.scheduler.handover.begin_process(seat, self.quota)
            self.scheduler.core_ready(seat)
        else:
            del self.sent[seat]
            self.scheduler.handover.end_draining(seat)
        self.assign()

    @invariant()
    def each_process_holds_what_it_was_sent(self):
        if not hasattr(self, "scheduler"):
            return
        self.scheduler.validate()
        for seat, held in self.sent.items():
            unsent = self.unsent.get(seat, [])
            assert sorted(held_by(self.scheduler, seat)) == sorted([*held, *unsent])
        by_number = {ticket.number: ticket for ticket in self.made}
        for seat, held in self.sent.items():
            assert all(self.scheduler.accounts.seat_of(by_number[n]) == seat for n in held)
        views = self.scheduler.snapshot().cores
        assert [view.core for view in views] == list(self.cores)
        of_processes = (*self.sent.values(), *self.unsent.values())
        assert sum(len(view.held) for view in views) == sum(map(len, of_processes))
        ended = sum(ticket.stage.ended for ticket in self.made)
        assert self.scheduler.accounts.unended_count == len(self.made) - ended


TestHandover = HandoverMachine.TestCase
TestHandover.__doc__ = (
    "Whoever takes over from whom, and dies: every token is held by the process that it was sent "
    "to, or waits, or has ended; and none is sent more than its quota."
)
TestHandover.settings = settings(max_examples=40, stateful_step_count=30)
