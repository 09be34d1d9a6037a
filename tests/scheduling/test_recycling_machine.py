"""Recycling: limits and weights decide, and the scheduler accounts for what follows."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tickets import MS, Maker, held_by

from tokengate_mp.scheduling.policy.recycling import ProcessFacts, RecyclingPolicy
from tokengate_mp.scheduling.scheduler import Scheduler

LARGE = 1 << 30


class Process:
    """One core process.

    Attributes:
        sent: How many tokens it was sent in all.
        ready: Whether it is up.
    """

    def __init__(self, *, ready):
        self.sent = 0
        self.ready = ready


class RecyclingMachine(RuleBasedStateMachine):
    """Processes are started, take over, are dismissed and die, as the policy orders."""

    @initialize(
        cores=st.integers(1, 3),
        limit=st.sampled_from([None, 1, 5, 40]),
        exact=st.booleans(),
        max_rss=st.sampled_from([None, LARGE]),
    )
    def start(self, cores, limit, exact, max_rss):
        self.limit, self.exact, self.max_rss = limit, exact, max_rss
        self.policy = RecyclingPolicy(limit, exact=exact, max_rss=max_rss)
        self.scheduler = Scheduler(cores, 4, "work_conserving")
        self.maker = Maker(self.scheduler)
        self.now = 0
        self.cores = range(1, cores + 1)
        self.processes = {}
        self.successors = {}
        self.irreplaceable = set()
        self.given_up = set()
        for core in self.cores:
            self.take_over(core, Process(ready=True), lead=10 * MS)
        self.submit(cores * 3)

    def take_over(self, core, process, lead):
        """A process gets the core's seat; it takes tokens once it is up."""
        self.processes[core] = process
        if process.ready:
            self.policy.process_began(core, self.now, lead)
            self.scheduler.handover.begin_process(core, self.policy.quota)
            self.scheduler.core_ready(core)

    def draining(self):
        return [seat for seat in self.processes if seat not in self.cores]

    def submit(self, count):
        self.maker.submit(count=count)
        self.assign()

    def assign(self):
        for core, sent in self.scheduler.assign(self.now).items():
            process = self.processes[core]
            process.sent += len(sent)
            assert not (self.exact and self.limit and process.sent > self.limit)

    @rule(count=st.integers(1, 30))
    def call(self, count):
        self.submit(count)

    @precondition(lambda self: any(held_by(self.scheduler, seat) for seat in self.processes))
    @rule(data=st.data(), passed=st.sampled_from([0, MS, 100 * MS]))
    def settle(self, data, passed):
        self.now += passed
        busy = [seat for seat in self.processes if held_by(self.scheduler, seat)]
        seat = data.draw(st.sampled_from(busy))
        held = list(held_by(self.scheduler, seat))
        numbers = held[: data.draw(st.integers(1, len(held)))]
        self.scheduler.settle(seat, numbers, [MS] * len(numbers), self.now)
        self.assign()

    @rule(core=st.integers(1, 3), rss=st.sampled_from([1, LARGE + 1]))
    def weigh(self, core, rss):
        if core in self.processes and self.policy.worth_weighing(
            core, self.scheduler.handover.answered_by_process(core)
        ):
            news = self.policy.weighed(core, rss)
            assert not news or (self.max_rss is not None and rss > self.max_rss)
            assert not self.policy.weighed(core, rss)

    @precondition(lambda self: self.successors)
    @rule(data=st.data(), comes_up=st.sampled_from([True, True, False]))
    def successor_is_up_or_cannot_be(self, data, comes_up):
        core = data.draw(st.sampled_from(sorted(self.successors)))
        if comes_up:
            self.successors[core].ready = True
        elif not self.successors[core].ready:
            del self.successors[core]
            self.irreplaceable.add(core)

    @rule(core=st.integers(1, 3))
    def comes_up_late(self, core):
        """A process that had to take over before it was up."""
        process = self.processes.get(core)
        if process is not None and not process.ready and core not in self.given_up:
            process.ready = True
            self.take_over(core, process, lead=MS)

    @rule(at=st.integers(0, 4))
    def die(self, at):
        if at >= len(self.processes):
            return
        seat = list(self.processes)[at]
        self.scheduler.core_lost(seat, {}, self.now)
        del self.processes[seat]
        if seat not in self.cores:
            self.scheduler.handover.end_draining(seat)
            return
        self.policy.process_ended(seat)
        self.irreplaceable.discard(seat)
        self.take_over(seat, self.successors.pop(seat, None) or Process(ready=True), lead=None)

    @rule()
    def look(self):
        facts = [
            ProcessFacts(
                core=core,
                ready=process.ready,
                answered=self.scheduler.handover.answered_by_process(core),
                closed=self.scheduler.handover.is_closed(core),
                successor_ready=successor.ready if successor else None,
                successor_due=successor is not None,
                irreplaceable=core in self.irreplaceable,
            )
            for core, process in self.processes.items()
            if core in self.cores
            for successor in [self.successors.get(core)]
        ]
        held = {seat: self.scheduler.accounts.held_count(seat) for seat in self.draining()}
        orders = self.policy.decide(facts, held, self.now)
        if self.limit is None and self.max_rss is None:
            assert orders == ([], [], [])
        for seat in orders.dismiss:
            assert not held_by(self.scheduler, seat)
            del self.processes[seat]
            self.scheduler.core_lost(seat, {}, self.now)
            self.scheduler.handover.end_draining(seat)
        for core in orders.hand_over:
            self.hand_over(core)
        for core in orders.start:
            assert core not in self.successors
            assert self.processes[core].ready
            self.successors[core] = Process(ready=False)
        if not self.exact:
            waiting = [each for each in self.successors.values() if not each.ready]
            assert len(waiting) <= 1, "more than one successor gets ready at a time"
        self.assign()

    def hand_over(self, core):
        successor = self.successors.pop(core, None)
        assert (successor is None) == (core in self.irreplaceable)
        seat = self.scheduler.handover.relieve(core)
        self.processes[seat] = self.processes.pop(core)
        if successor is None:
            self.given_up.add(core)
            self.irreplaceable.discard(core)
        else:
            assert successor.ready
            self.take_over(core, successor, lead=None)

    @invariant()
    def accounts_are_right(self):
        if hasattr(self, "scheduler"):
            self.scheduler.validate()

    def teardown(self):
        """All tokens end, however small the quota: each process is replaced in time."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(3 * self.maker.made + 10):
            for successor in self.successors.values():
                successor.ready = True
            for core in self.cores:
                self.comes_up_late(core)
            self.look()
            for seat in list(self.processes):
                numbers = list(held_by(self.scheduler, seat))[:4]
                self.scheduler.settle(seat, numbers, [MS] * len(numbers), self.now)
            self.now += MS
            self.assign()
        if not self.given_up and not self.irreplaceable:
            assert not self.scheduler.accounts.unended_count


TestRecycling = RecyclingMachine.TestCase
TestRecycling.__doc__ = (
    "With an exact limit no process is sent more; a successor takes over once it is up, a relieved "
    "process is dismissed when it holds nothing, and no token waits for ever meanwhile."
)
TestRecycling.settings = settings(max_examples=80, stateful_step_count=30)
