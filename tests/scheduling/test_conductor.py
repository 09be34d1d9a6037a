"""NestedTokens: where they run, and what they count."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tickets import MS, FakeTicket

from tokengate_mp.config.options import Policy
from tokengate_mp.config.seeds import Lead
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.weights import as_set
from tokengate_mp.scheduling.scheduler import Scheduler

LEADING = Policy(lead=Lead("[]"))
RETRIED = Policy(retries=1)
PAUSING = Policy(retries=1, backoff_ns=MS)


class Failed(Exception):
    """What a token of these tests ends with."""


class ConductorMachine(RuleBasedStateMachine):
    """NestedTokens under every fact that the scheduler can be told, against plain sets."""

    @initialize(cores=st.integers(1, 4), routing=st.sampled_from(["strict", "work_conserving"]))
    def start(self, cores, routing):
        self.scheduler = Scheduler(cores, 2, routing)
        self.cores = range(1, cores + 1)
        self.now = 0
        self.made = 0
        self.chain_of = {}  # the leads of the chains that each token of one counts in
        self.held = {core: [] for core in self.cores}
        self.begun = {}  # the core that each token has been begun on
        self.pinned = {}  # the core that each chain is pinned to
        self.tickets = []
        self.ready = set()
        self.gone = set()

    def take(self, policy, weight="medium"):
        self.made += 1
        operation = self.scheduler.operations.declare(f"op{policy}", weight, policy)
        ticket = FakeTicket(self.made, operation, created=self.now)
        self.tickets.append(ticket)
        return ticket

    def alive(self, number):
        return not self.tickets[number - 1].stage.ended

    def chains(self):
        """The chains that have tokens, by their lead's number."""
        return {
            lead for number, leads in self.chain_of.items() if self.alive(number) for lead in leads
        }

    def running(self):
        return sorted(
            number
            for held in self.held.values()
            for number in held
            if number in self.begun and self.alive(number)
        )

    @rule(weight=st.sampled_from(["light", "heavy"]))
    def lead(self, weight):
        ticket = self.take(LEADING, weight)
        self.scheduler.submitted([ticket])
        self.chain_of[ticket.number] = {ticket.number}

    @rule(policy=st.sampled_from([None, RETRIED]))
    def plain(self, policy):
        self.scheduler.submitted([self.take(policy)])

    @precondition(lambda self: self.ready)
    @rule()
    def assign(self):
        for core, tickets in self.scheduler.assign(self.now).items():
            assert core in self.ready
            for ticket in tickets:
                self.sent(ticket.number, core)

    def sent(self, number, core):
        self.held[core].append(number)
        for lead in self.chain_of.get(number, ()):
            # Every member of a chain is sent to the chain's core.
            assert self.pinned.setdefault(lead, core) == core

    @rule(data=st.data())
    def begin(self, data):
        waiting = [n for held in self.held.values() for n in held if n not in self.begun]
        if waiting:
            number = data.draw(st.sampled_from(waiting))
            core = next(core for core, held in self.held.items() if number in held)
            self.begun[number] = core

    @precondition(lambda self: self.running())
    @rule(data=st.data(), policy=st.sampled_from([None, LEADING, RETRIED, PAUSING]))
    def make(self, data, policy):
        """A token that runs makes one, in its chain if it is in one."""
        parent = data.draw(st.sampled_from(self.running()))
        leads = self.chain_of.get(parent, set())
        child = self.take(policy)
        if not leads:
            self.scheduler.submitted([child])
            if policy is LEADING:
                self.chain_of[child.number] = {child.number}
            return
        # A lead's children are in the chain that it leads, not in the one that it was made in.
        lead = parent if parent in leads else min(leads)
        core = self.begun[parent]
        self.chain_of[child.number] = {lead}
        if policy is LEADING:
            self.chain_of[child.number].add(child.number)
        self.scheduler.relations.joined(child, lead, core, self.now)
        self.sent(child.number, core)

    @precondition(lambda self: any(self.begun))
    @rule(data=st.data(), fails=st.booleans())
    def settle(self, data, fails):
        held = [n for numbers in self.held.values() for n in numbers if n in self.begun]
        if not held:
            return
        number = data.draw(st.sampled_from(held))
        core = self.begun.pop(number)
        self.held[core].remove(number)
        failed = {number: Failed()} if fails else {}
        self.scheduler.settle(core, [number], [MS], self.now, failed=failed)
        self.note_ends()

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        self.scheduler.killed(data.draw(st.sampled_from(self.tickets)))
        self.note_ends()

    @rule(data=st.data())
    def give_back(self, data):
        """A core gives back what it has not begun; members made there are not."""
        core = data.draw(st.sampled_from(self.cores))
        back = [
            number
            for number in self.held[core]
            if number not in self.begun and self.chain_of.get(number, {number}) == {number}
        ]
        if back:
            self.held[core] = [n for n in self.held[core] if n not in back]
            self.scheduler.given_back(core, back)
            for number in back:
                others = [
                    n for n, leads in self.chain_of.items() if number in leads and n != number
                ]
                if not any(map(self.alive, others)):
                    self.pinned.pop(number, None)

    @rule(data=st.data())
    def core_ready(self, data):
        core = data.draw(st.sampled_from(self.cores))
        if core not in self.ready | self.gone:
            self.ready.add(core)
            self.scheduler.core_ready(core)

    @precondition(lambda self: self.ready)
    @rule(data=st.data())
    def core_lost(self, data):
        core = data.draw(st.sampled_from(sorted(self.ready)))
        self.ready.discard(core)
        running = {n: Failed() for n in self.held[core] if n in self.begun}
        lost = self.scheduler.core_lost(core, running, self.now)
        assert {ticket.number for ticket in lost} <= running.keys()
        for number in self.held[core]:
            self.begun.pop(number, None)
        self.held[core] = []
        self.note_ends()

    @precondition(lambda self: len(self.gone) + 1 < len(self.cores))
    @rule(data=st.data())
    def give_up(self, data):
        """A core that has no process never gets one again: its chains move as a whole."""
        core = data.draw(st.sampled_from(self.cores))
        if core in self.ready:
            return
        self.gone.add(core)
        self.scheduler.stranded(as_set(self.gone))
        new = min(set(self.cores) - self.gone)
        for lead, pinned in self.pinned.items():
            if pinned in self.gone:
                self.pinned[lead] = new
        self.note_ends()

    @rule(later=st.sampled_from([0, MS, 5 * MS]))
    def tick(self, later):
        self.now += later
        self.scheduler.tick(self.now)

    def note_ends(self):
        for lead in set(self.pinned) - self.chains():
            del self.pinned[lead]

    @invariant()
    def counts_exactly(self):
        if not hasattr(self, "scheduler"):
            return
        self.scheduler.validate()
        assert self.scheduler.snapshot().chains == len(self.chains())

    def teardown(self):
        """When all has ended there is no chain left."""
        if hasattr(self, "scheduler"):
            for ticket in self.tickets:
                self.scheduler.killed(ticket)
            assert self.scheduler.snapshot().chains == 0
            self.scheduler.validate()


ConductorMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestConductor = ConductorMachine.TestCase


def scheduler_with(cores):
    """A scheduler whose cores are all ready."""
    scheduler = Scheduler(cores, 4, "work_conserving")
    for core in range(1, cores + 1):
        scheduler.core_ready(core)
    return scheduler


def led(scheduler, number=1):
    """A lead that was sent to a core: its ticket and the core."""
    ticket = FakeTicket(number, scheduler.operations.declare("lead", "medium", LEADING))
    scheduler.submitted([ticket])
    ((core, tickets),) = scheduler.assign(0).items()
    assert tickets == [ticket]
    return ticket, core


def test_a_chain_moves_as_a_whole_to_the_next_process():
    """What a dead core had not begun waits for its replacement, however idle the others are."""
    scheduler = scheduler_with(4)
    lead, core = led(scheduler)
    children = [FakeTicket(n, scheduler.operations.declare("child", "light")) for n in (2, 3, 4)]
    for child in children:
        scheduler.relations.joined(child, lead.number, core, 0)
    lost = scheduler.core_lost(core, {lead.number: Failed()}, 0)
    assert lost == [lead]
    assert scheduler.assign(0) == {}
    scheduler.core_ready(core)
    assert scheduler.assign(0) == {core: children}
    assert scheduler.snapshot().chains == 1
    scheduler.settle(core, [2, 3, 4], [MS] * 3, MS)
    assert scheduler.snapshot().chains == 0


def test_a_chain_without_a_core_fails():
    """When no core is left at all, its tokens end."""
    scheduler = scheduler_with(2)
    lead, core = led(scheduler)
    child = FakeTicket(2, scheduler.operations.declare("child", "light"))
    scheduler.relations.joined(child, lead.number, core, 0)
    for each in (1, 2):
        scheduler.core_lost(each, {1: Failed()} if each == core else {}, 0)
    assert scheduler.stranded() == [child]
    assert child.stage is TokenState.FAILED
    assert scheduler.snapshot().chains == 0


def test_an_operation_that_is_paused_holds_its_members_back():
    """A member that waits for its core again is held back like any waiting token."""
    scheduler = scheduler_with(2)
    lead, core = led(scheduler)
    child = FakeTicket(2, scheduler.operations.declare("child", "light"))
    scheduler.relations.joined(child, lead.number, core, 0)
    scheduler.core_lost(core, {1: Failed()}, 0)
    scheduler.core_ready(core)
    scheduler.pause("child")
    assert scheduler.assign(0) == {}
    scheduler.resume("child")
    assert scheduler.assign(0) == {core: [child]}
