"""Tokens that wait for others, against a model that walks the whole graph."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tickets import MS, Maker, measured, numbers

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.scheduler import Scheduler


class DependencyMachine(RuleBasedStateMachine):
    @initialize(cores=st.integers(1, 3))
    def start(self, cores):
        self.scheduler = Scheduler(cores, 4, "work_conserving")
        self.maker = Maker(self.scheduler)
        self.cores = range(1, cores + 1)
        for core in self.cores:
            self.scheduler.core_ready(core)
        self.tickets = {}
        self.needs = {}  # what each token was said to need, and has not got
        self.filled = {}  # which of its needs each has got

    def ended(self, number):
        return self.tickets[number].stage.ended

    @rule(data=st.data(), key=st.sampled_from([None, None, b"k"]), home=st.integers(0, 3))
    def call(self, data, key, home):
        unended = [n for n in self.tickets if not self.ended(n)]
        chosen = data.draw(st.lists(st.sampled_from(unended), max_size=4)) if unended else []
        (ticket,) = self.maker()
        self.tickets[ticket.number] = ticket
        self.needs[ticket.number] = set(chosen)
        self.filled[ticket.number] = [None] * len(chosen)
        dependencies = [(number, at) for at, number in enumerate(chosen)]
        self.scheduler.relations.withheld(ticket, dependencies)
        assert ticket.stage is TokenState.WAITING
        if not chosen:
            self.release(ticket, key, home)

    def release(self, ticket, key, home):
        home = home if home in self.cores else 0
        ledger = self.scheduler._ledger
        lanes = self.scheduler._gate.lanes.values()
        idle, waiting = ledger.idle, any(lane.queue for lane in lanes)
        self.scheduler.relations.released(ticket, key, 0, 0, home)
        if ticket.stage is TokenState.ADMITTED:
            assert ticket.core == home
            assert key is None
            assert not waiting
            assert not idle or idle >> home & 1

    @rule(home=st.integers(0, 3))
    def walk(self, home=0):
        """What the coordinator does with ends: they are passed on, until nothing is left to do."""
        while ended := self.scheduler.relations.take_ended():
            for need, dependents in ended:
                assert self.ended(need.number)
                for ticket, at in dependents:
                    if ticket.stage.ended:
                        continue
                    assert need.number in self.needs[ticket.number]
                    assert self.filled[ticket.number][at] is None
                    self.filled[ticket.number][at] = need.number
                    if need.stage is TokenState.KILLED:
                        assert self.scheduler.killed(ticket)
                    elif need.stage is TokenState.FAILED:
                        self.scheduler.relations.failed(ticket)
                    elif self.scheduler.relations.supplied(ticket):
                        assert None not in self.filled[ticket.number]
                        self.release(ticket, None, home)
        for number, needs in self.needs.items():
            gone = {need for need in needs if self.ended(need)}
            spoilt = any(
                self.tickets[need].stage in {TokenState.FAILED, TokenState.KILLED} for need in gone
            )
            assert not spoilt or self.ended(number)
            if not self.ended(number):
                withheld = number in self.scheduler._gate.withheld
                assert withheld == bool(needs - gone)

    @rule()
    def assign(self):
        for core, sent in self.scheduler.assign(0).items():
            for ticket in sent:
                assert ticket.core == core
                assert all(self.ended(need) for need in self.needs[ticket.number])

    def held(self):
        return [t for t in self.tickets.values() if t.stage is TokenState.ADMITTED]

    @precondition(lambda self: self.held())
    @rule(data=st.data(), failed=st.booleans())
    def settle(self, data, failed):
        ticket = data.draw(st.sampled_from(self.held()))
        number = [ticket.number]
        self.scheduler.settle(
            ticket.core,
            number,
            [MS],
            0,
            failed=dict.fromkeys(number if failed else (), ValueError()),
        )

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def lose_core(self, data):
        ticket = data.draw(st.sampled_from(self.held()))
        self.scheduler.core_lost(ticket.core, {ticket.number: OSError()}, 0)
        self.scheduler.core_ready(ticket.core)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        self.scheduler.killed(self.tickets[data.draw(st.integers(1, len(self.tickets)))])

    @invariant()
    def valid(self):
        self.scheduler.validate()
        unended = [n for n in self.tickets if not self.ended(n)]
        assert numbers(self.scheduler.accounts.unended()) == unended
        assert self.scheduler.accounts.unended_count == len(unended)
        waiting = [n for n in unended if self.tickets[n].stage is TokenState.WAITING]
        assert self.scheduler.accounts.waiting_count == len(waiting)

    def teardown(self):
        if not hasattr(self, "scheduler"):
            return
        for _ in range(len(self.tickets) + 1):
            self.walk()
            self.assign()
            for ticket in self.held():
                self.scheduler.settle(ticket.core, [ticket.number], [MS], 0)
        self.walk()
        assert self.scheduler.accounts.unended_count == 0
        graph = self.scheduler.relations._dependencies
        assert not graph.dependents
        assert not graph.ended
        assert not graph.missing


def test_dependents_go_where_their_data_is_warm():
    """To the core that made what they need, as long as no core is idle for it; else to any."""
    scheduler = Scheduler(3, 1, "work_conserving")
    maker = Maker(scheduler)
    for core in (1, 2, 3):
        scheduler.core_ready(core)
    measured(maker, 100_000)

    def release(home):
        (ticket,) = maker()
        scheduler.relations.withheld(ticket, [])
        scheduler.relations.released(ticket, None, 0, 0, home)
        return ticket

    for home in (3, 1, 2):
        ticket = release(home)
        assert scheduler.assign(0) == {home: [ticket]}
    again = release(3)  # none is idle
    assert scheduler.assign(0) == {3: [again]}
    for ticket in scheduler.accounts.unended():
        scheduler.settle(ticket.core, [ticket.number], [100_000], 0)
    first, second = release(1), release(1)
    orders = scheduler.assign(0)
    assert orders.pop(1) == [first]
    assert list(orders.values()) == [[second]]  # on one that was idle


TestDependencies = DependencyMachine.TestCase
TestDependencies.__doc__ = (
    "A token gets into a lane exactly when all that it needs has completed, and ends when one of "
    "those failed or was killed; nothing is kept of what has ended."
)
TestDependencies.settings = settings(max_examples=50, stateful_step_count=30)
