"""ConcurrencyLimits of operations, against a model that keeps plain sets."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tickets import MS, WEIGHTS, FakeTicket, homes

from tokengate_mp.config.options import Policy
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.scheduler import Scheduler

MOST = {"one": 1, "three": 3, "free": None, "one.map": 1}
LIMITED_WITH = {"one.map": "one"}
NAMES = sorted(MOST)
AT_ONCE = st.sampled_from([True, True, False])


class LimitMachine(RuleBasedStateMachine):
    """Facts in any order; a limit is never exceeded, nor is anything held back without need."""

    @initialize(cores=st.integers(1, 4), routing=st.sampled_from(["strict", "work_conserving"]))
    def start(self, cores, routing):
        self.scheduler = Scheduler(cores, 2, routing)
        self.cores = range(1, cores + 1)
        self.strict = routing == "strict"
        self.homes = homes(cores)
        self.now = 0
        self.tickets = {}
        self.held = {core: {} for core in self.cores}
        self.gone = set()
        self.paused = set()
        self.pins = {}  # by number: the key
        self.beyond = set()  # what was sent although there was no room
        for core in self.cores:
            self.scheduler.core_ready(core)

    def limited_with(self, name):
        return LIMITED_WITH.get(name, name)

    def counted(self, name):
        held = (ticket for mine in self.held.values() for ticket in mine.values())
        return [t for t in held if self.limited_with(t.operation.name) == name]

    def room(self, ticket):
        name = self.limited_with(ticket.operation.name)
        return MOST[name] is None or len(self.counted(name)) < MOST[name]

    def may_run(self, ticket):
        mine = self.homes[ticket.operation.weight] if self.strict else set(self.cores)
        return set(mine) - self.gone

    def make(self, name, weight, retries=0):
        policy = Policy(retries=retries, max_running=MOST[name], of=LIMITED_WITH.get(name))
        operation = self.scheduler.operations.declare(name, weight, policy)
        ticket = FakeTicket(len(self.tickets) + 1, operation, created=self.now)
        self.tickets[ticket.number] = ticket
        return ticket

    # ---- facts

    @rule(
        name=st.sampled_from(NAMES),
        weight=st.sampled_from(WEIGHTS),
        count=st.integers(1, 5),
        retries=st.integers(0, 1),
        at_once=AT_ONCE,
    )
    def call(self, name, weight, count, retries, at_once):
        self.scheduler.submitted([self.make(name, weight, retries) for _ in range(count)])
        self.assign(at_once=at_once)

    @rule(name=st.sampled_from(NAMES), key=st.sampled_from([b"x", b"y"]), count=st.integers(1, 3))
    def call_anchored(self, name, key, count):
        made = [self.make(name, "medium") for _ in range(count)]
        self.pins.update((ticket.number, key) for ticket in made)
        self.scheduler.anchored([(ticket, key, 0) for ticket in made], self.now)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), fail=st.booleans(), at_once=AT_ONCE)
    def settle(self, data, fail, at_once):
        core = data.draw(st.sampled_from([c for c in self.cores if self.held[c]]))
        number = data.draw(st.sampled_from(sorted(self.held[core])))
        failed = {number: ValueError()} if fail else {}
        self.scheduler.settle(core, [number], [MS], self.now, failed=failed)
        del self.held[core][number]
        self.beyond.discard(number)
        self.assign(at_once=at_once)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), at_once=AT_ONCE)
    def give_back(self, data, at_once):
        core = data.draw(st.sampled_from([c for c in self.cores if self.held[c]]))
        numbers = data.draw(st.sets(st.sampled_from(sorted(self.held[core])), min_size=1))
        self.scheduler.given_back(core, sorted(numbers))
        for number in numbers:
            del self.held[core][number]
        self.beyond -= numbers
        self.assign(at_once=at_once)

    @rule(core=st.integers(1, 4), data=st.data(), back=st.booleans(), at_once=AT_ONCE)
    def lose_core(self, core, data, back, at_once):
        if core not in self.held or core in self.gone:
            return
        held = self.held[core]
        running = data.draw(st.sets(st.sampled_from(sorted(held)), max_size=2)) if held else set()
        self.scheduler.core_lost(core, dict.fromkeys(running, OSError()), self.now)
        self.beyond -= held.keys()
        self.held[core] = {}
        if back:
            self.scheduler.core_ready(core)
        else:
            self.gone.add(core)
            self.scheduler.stranded(sum(1 << each for each in self.gone))
        self.assign(at_once=at_once)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        self.scheduler.killed(self.tickets[data.draw(st.integers(1, len(self.tickets)))])

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), core=st.integers(1, 4), stalled=st.booleans())
    def claim(self, data, core, stalled):
        ticket = self.tickets[data.draw(st.integers(1, len(self.tickets)))]
        if core not in self.held or core in self.gone or ticket.number in self.pins:
            return
        room = self.room(ticket)
        if self.scheduler.claimed(ticket, core, 0, self.now, lambda _: stalled):
            assert room or stalled
            assert ticket.operation.name not in self.paused
            self.held[core][ticket.number] = ticket
            if not room:
                self.beyond.add(ticket.number)

    @rule(name=st.sampled_from(NAMES), core=st.integers(1, 4))
    def join(self, name, core):
        """A token is made in a chain, on its core."""
        if core in self.held and core not in self.gone and self.held[core]:
            ticket = self.make(name, "light")
            room = self.room(ticket)
            self.scheduler.relations.joined(ticket, 10_000 + core, core, self.now)
            self.held[core][ticket.number] = ticket
            if not room:
                self.beyond.add(ticket.number)

    @rule(name=st.sampled_from(NAMES))
    def pause(self, name):
        self.scheduler.pause(name)
        self.paused.add(name)

    @rule(name=st.sampled_from(NAMES))
    def resume(self, name):
        self.scheduler.resume(name)
        self.paused.discard(name)

    # ---- orders

    @rule(at_once=st.just(value=True))
    def assign(self, *, at_once):
        if not at_once:
            return
        before = {name: len(self.counted(name)) for name in NAMES}
        chained = set(self.scheduler._conductor.members)
        for core, sent in self.scheduler.assign(self.now).items():
            assert core not in self.gone
            for ticket in sent:
                assert ticket.stage is TokenState.ADMITTED
                assert core in self.may_run(ticket) or ticket.number in self.pins.keys() | chained
                assert ticket.operation.name not in self.paused
                self.held[core][ticket.number] = ticket
                if ticket.number in chained:
                    self.beyond.add(ticket.number)
        for name, most in MOST.items():
            if most is not None and name not in LIMITED_WITH:
                grown = [t for t in self.counted(name) if t.number not in self.beyond]
                assert len(grown) <= max(most, before[name])
        idle = {core for core in self.cores if not self.held[core]} - self.gone
        for ticket in self.scheduler.accounts.waiting_tickets():
            if ticket.operation.name in self.paused or ticket.number in self.pins:
                continue
            if self.room(ticket):
                assert not idle & self.may_run(ticket), f"{ticket} waits beside an idle core"
        assert self.scheduler.assign(self.now) == {}

    # ---- what always holds

    @invariant()
    def valid(self):
        if hasattr(self, "scheduler"):
            self.scheduler.validate()
            for name, view in self.scheduler.snapshot().operations.items():
                assert view.max_running == MOST[name]
                if view.max_running is not None:
                    assert view.held == len(self.counted(self.limited_with(name)))

    def teardown(self):
        """With everything resumed, every token comes to its end."""
        if not hasattr(self, "scheduler"):
            return
        for name in NAMES:
            self.resume(name)
        for core in self.gone & set(self.cores):
            self.scheduler.core_ready(core)
        self.gone = set()
        for _ in range(3 * len(self.tickets) + 2):
            self.assign(at_once=True)
            for core, held in self.held.items():
                numbers = sorted(held)[:1]
                self.scheduler.settle(core, numbers, [MS] * len(numbers), self.now)
                for number in numbers:
                    del held[number]
        assert not self.scheduler.accounts.unended_count
        assert len(self.scheduler._gate) == 0


TestLimits = LimitMachine.TestCase
TestLimits.__doc__ = (
    "Whatever happens in whatever order, cores are sent no more of an operation than its limit, "
    "and no core is idle beside a token that it may run and for which the limit has room."
)
TestLimits.settings = settings(max_examples=60, stateful_step_count=30)


def test_a_limited_token_that_waits_behind_its_key_goes_with_the_same_order():
    """Also if it is the first token of a limited operation that there has been."""
    machine = LimitMachine()
    machine.start(cores=1, routing="strict")
    machine.call_anchored(count=1, key=b"x", name="free")
    machine.call_anchored(count=1, key=b"x", name="one")
    machine.assign(at_once=True)
    assert len(machine.held[1]) == 2
    machine.teardown()
