"""Sticky pins: a state machine against plain sets, and single properties."""

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
from tickets import MS, WEIGHTS, Maker, homes, numbers

from tokengate_mp.config.options import Policy
from tokengate_mp.config.seeds import Lead
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.scheduler import Scheduler

KEYS = ["k1", "k2", "k3", "k4"]
POLICIES = {
    "once": None,
    "again": Policy(retries=2),
    "later": Policy(retries=2, backoff_ns=3 * MS, idempotent=True),
    "lead": Policy(retries=1, lead=Lead("[]")),
}
KEEP = {"k3": 5 * MS, "k4": 50 * MS}


class StickyMachine(RuleBasedStateMachine):
    @initialize(
        cores=st.integers(1, 4),
        threads=st.sampled_from([1, 4]),
        routing=st.sampled_from(["strict", "work_conserving"]),
        ready=st.booleans(),
    )
    def start(self, cores, threads, routing, ready):
        self.scheduler = Scheduler(cores, threads, routing)
        self.maker = Maker(self.scheduler)
        self.strict = routing == "strict"
        self.homes = homes(cores)
        self.cores = range(1, cores + 1)
        self.now = 0
        self.ready = set()
        self.tickets = {}
        self.keys = {}  # of each token: its key, or None
        self.chains = {}  # of each token of a chain: its lead
        self.held = {core: [] for core in self.cores}
        self.pins = {}  # the core of each key that has one
        self.until = {}  # when each key without tokens goes
        if ready:
            for core in self.cores:
                self.core_ready(core)

    # ---- the model's own words

    def in_flight(self, key):
        return [n for n, own in self.keys.items() if own == key and not self.ended(n)]

    def ended(self, number):
        return self.tickets[number].stage.ended

    def let_go(self):
        """What follows from tokens having ended, and from time having passed."""
        for key in list(self.pins):
            if self.in_flight(key):
                self.until.pop(key, None)
            elif key not in KEEP:
                del self.pins[key]
            elif self.until.setdefault(key, self.now + KEEP[key]) <= self.now:
                del self.pins[key], self.until[key]

    def look(self):
        """A call of the scheduler that tells it the time; then both sides know the same pins."""
        pins = self.scheduler.snapshot(self.now).pins
        self.let_go()
        assert pins == len(self.pins)

    # ---- facts

    @rule(
        calls=st.lists(
            st.tuples(
                st.sampled_from(WEIGHTS),
                st.sampled_from([*KEYS, *KEYS, None]),
                st.sampled_from(["once", "again", "later", "lead"]),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def call(self, calls):
        self.look()
        for weight, key, name in calls:
            (ticket,) = self.maker(weight)
            ticket.operation = self.scheduler.operations.declare(name, weight, POLICIES[name])
            self.tickets[ticket.number] = ticket
            self.keys[ticket.number] = key
            if name == "lead":
                self.keys[ticket.number], self.chains[ticket.number] = None, ticket.number
                self.scheduler.submitted([ticket])
            elif key is None:
                self.scheduler.submitted([ticket])
            else:
                call = ticket, key.encode(), KEEP.get(key, 0)
                self.scheduler.anchored([call], self.now)
        self.assign()

    @rule(core=st.integers(1, 4))
    def core_ready(self, core):
        if core in self.held and core not in self.ready:
            self.scheduler.core_ready(core)
            self.ready.add(core)

    @rule()
    def assign(self):
        orders = self.scheduler.assign(self.now)
        self.let_go()
        for core, sent in orders.items():
            for ticket in sent:
                key = self.keys[ticket.number]
                new = key is not None and key not in self.pins
                if key is not None:
                    assert self.pins.setdefault(key, core) == core
                if self.strict and (key is None or new) and ticket.number not in self.chains:
                    assert core in self.homes[ticket.operation.weight]
                self.held[core].append(ticket.number)
        assert self.scheduler.assign(self.now) == {}

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def settle(self, data):
        core = data.draw(st.sampled_from([c for c in self.cores if self.held[c]]))
        order = data.draw(st.permutations(self.held[core]))
        chosen = order[: data.draw(st.integers(1, len(order)))]
        failed = dict.fromkeys(data.draw(st.sets(st.sampled_from(chosen))), ValueError())
        blocked = data.draw(st.sets(st.sampled_from(chosen)))
        self.scheduler.settle(
            core, chosen, [MS] * len(chosen), self.now, failed=failed, blocked=blocked
        )
        self.held[core] = [n for n in self.held[core] if n not in chosen]
        self.look()

    def running_chains(self):
        return [
            (number, core)
            for core, held in self.held.items()
            for number in held
            if number in self.chains and not self.ended(number)
        ]

    @precondition(lambda self: self.running_chains())
    @rule(data=st.data(), weight=st.sampled_from(WEIGHTS), name=st.sampled_from(["once", "again"]))
    def make_member(self, data, weight, name):
        """A token of a chain makes another one, on its core."""
        maker, core = data.draw(st.sampled_from(self.running_chains()))
        (ticket,) = self.maker(weight)
        ticket.operation = self.scheduler.operations.declare(name, weight, POLICIES[name])
        number, lead = ticket.number, self.chains[maker]
        self.tickets[number], self.keys[number], self.chains[number] = ticket, None, lead
        self.scheduler.relations.joined(ticket, lead, core, self.now)
        self.held[core].append(number)

    @precondition(lambda self: self.tickets and self.ready)
    @rule(data=st.data(), wait=st.booleans())
    def claim(self, data, wait):
        """A thread waits for a token, and would run it itself; perhaps all threads do."""
        ticket = self.tickets[data.draw(st.sampled_from(sorted(self.tickets)))]
        core = data.draw(st.sampled_from(sorted(self.ready)))
        self.look()
        key = self.keys[ticket.number]
        pinned = self.pins.get(key, core)
        waiting = 1 << pinned if wait and pinned == core else 0
        if self.scheduler.claimed(ticket, core, waiting, self.now, lambda _: False):
            assert key is None or pinned == core
            self.held[core].append(ticket.number)
            if key is not None:
                self.pins[key] = core

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def give_back(self, data):
        core = data.draw(st.sampled_from([c for c in self.cores if self.held[c]]))
        chosen = data.draw(st.sets(st.sampled_from(self.held[core]), min_size=1))
        self.scheduler.given_back(core, list(chosen))
        self.held[core] = [n for n in self.held[core] if n not in chosen]

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), for_good=st.booleans())
    def lose_core(self, data, for_good):
        core = data.draw(st.sampled_from(sorted(self.ready)))
        held = self.held[core]
        running = data.draw(st.sets(st.sampled_from(held))) if held else set()
        self.scheduler.core_lost(core, dict.fromkeys(running, OSError()), self.now)
        self.held[core] = []
        self.ready.discard(core)
        self.look()
        if for_good:
            self.give_up({core})

    @precondition(lambda self: not self.ready)
    @rule()
    def give_up_all(self):
        self.give_up(set(self.cores))

    def give_up(self, gone):
        self.scheduler.stranded(sum(1 << core for core in gone))
        for key in [key for key, core in self.pins.items() if core in gone]:
            del self.pins[key]
            self.until.pop(key, None)
        self.look()

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        number = data.draw(st.sampled_from(sorted(self.tickets)))
        assert self.scheduler.killed(self.tickets[number]) == (
            self.tickets[number].stage is TokenState.KILLED
        ) or self.ended(number)
        self.look()

    @rule(name=st.sampled_from(sorted(POLICIES)), resume=st.booleans())
    def pause(self, name, resume):
        if resume:
            self.scheduler.resume(name)
        else:
            self.scheduler.pause(name)

    @rule(passed=st.sampled_from([1, 4 * MS, 60 * MS]))
    def wait(self, passed):
        self.now += passed
        assert self.scheduler.tick(self.now) == []
        self.look()

    # ---- what always holds

    @invariant()
    def valid(self):
        self.scheduler.validate()

    @invariant()
    def no_key_is_on_two_cores(self):
        for core, held in self.held.items():
            for number in held:
                if self.keys[number] is not None and not self.ended(number):
                    assert self.pins[self.keys[number]] == core

    @invariant()
    def no_chain_is_on_two_cores(self):
        cores = {}
        for number, core in self.running_chains():
            assert cores.setdefault(self.chains[number], core) == core

    @invariant()
    def every_token_is_somewhere(self):
        unended = [n for n in self.tickets if not self.ended(n)]
        assert numbers(self.scheduler.accounts.unended()) == unended
        for number, ticket in self.tickets.items():
            assert self.scheduler.accounts.find(number) is (None if self.ended(number) else ticket)
        held = {n for held in self.held.values() for n in held}
        waiting = [n for n in unended if n not in held]
        assert self.scheduler.accounts.waiting_count == len(waiting)
        postponed = self.scheduler._gate.postponed
        for number in waiting:
            ahead = self.scheduler.accounts.story(self.tickets[number]).ahead
            outside = number in postponed or number in self.scheduler._conductor.held
            assert (ahead is None) == outside

    def teardown(self):
        if not hasattr(self, "scheduler"):
            return
        for core in self.cores:
            self.core_ready(core)
        for name in POLICIES:
            self.scheduler.resume(name)
        for _ in range(len(self.tickets) + 1):
            self.now += 1_000 * MS
            self.scheduler.tick(self.now)
            self.assign()
            for core, held in self.held.items():
                self.scheduler.settle(core, held[:2], [MS] * len(held[:2]), self.now)
                del held[:2]
        assert self.scheduler.accounts.unended_count == 0
        self.look()
        assert self.scheduler.snapshot(self.now + max(KEEP.values())).pins == 0
        sticky = self.scheduler._gate.sticky
        assert not sticky.pins
        assert not sticky.members
        assert not sticky.unplaced
        assert not sticky.leaving
        assert not sticky._listed
        assert not self.scheduler._conductor.chains


TestSticky = StickyMachine.TestCase
TestSticky.__doc__ = (
    "Whatever becomes of tokens and cores, in whatever order: no key is on two cores, its first "
    "token keeps to its range, pins are counted exactly, and none is left when all has ended. Nor "
    "is a chain on two cores, or counted when its last token has ended."
)
TestSticky.settings = settings(max_examples=60, stateful_step_count=30)


def scheduler_with(cores, **options):
    """A scheduler all of whose cores are ready, and what makes tickets for it."""
    scheduler = Scheduler(cores, 4, options.get("routing", "work_conserving"))
    for core in range(1, cores + 1):
        scheduler.core_ready(core)
    return scheduler, Maker(scheduler)


def call(scheduler, tickets, key=b"k", keep=0, now=0):
    """Submit tokens of one key."""
    scheduler.anchored([(ticket, key, keep) for ticket in tickets], now)


def finish(scheduler, tickets, now=0):
    """Let tokens return."""
    for ticket in tickets:
        scheduler.settle(ticket.core, [ticket.number], [MS], now)


def test_other_cores_do_not_borrow_what_is_pinned():
    """However long a core's own lane is, the others stay idle rather than take from it."""
    scheduler, make = scheduler_with(4)
    tickets = make(count=500)
    call(scheduler, tickets)
    orders = scheduler.assign(0)
    assert len(orders) == 1
    (core,) = orders
    while scheduler.accounts.unended_count:
        held = [ticket for ticket in tickets if ticket.stage is TokenState.ADMITTED]
        finish(scheduler, held)
        assert scheduler.assign(0).keys() <= {core}
    assert {ticket.core for ticket in tickets} == {core}


def test_what_is_pinned_comes_before_the_classes():
    """A token for one core alone is sent there first; those of a class go where there is room."""
    scheduler, make = scheduler_with(2)
    (first,) = make()
    call(scheduler, [first])
    scheduler.assign(0)
    crowd = make.submit("heavy", "crowd", 100)
    scheduler.assign(0)
    (second,) = make()
    call(scheduler, [second])
    finish(scheduler, [t for t in crowd if t.core == first.core and t.stage.name == "ADMITTED"])
    assert second in scheduler.assign(0)[first.core]


def test_a_kept_pin_is_found_again_and_then_not():
    """It is there until its time is up; a token that comes before gives it all its time anew."""
    scheduler, make = scheduler_with(4)
    now, cores = 0, []
    for pause in (9 * MS, 9 * MS, 11 * MS):
        (ticket,) = make("heavy")
        call(scheduler, [ticket], keep=10 * MS, now=now)
        make.submit("heavy", "crowd", len(cores))  # so that it would go to another core
        scheduler.assign(now)
        cores.append(ticket.core)
        finish(scheduler, [ticket], now)
        assert scheduler.snapshot(now).pins == 1
        now += pause
    assert cores == [cores[0]] * 3
    assert scheduler.snapshot(now).pins == 0


def test_the_first_of_a_key_that_ends_hands_on_its_turn():
    """The token behind it gets the key its core, and comes where the first one stood."""
    scheduler, make = scheduler_with(1)
    first, second, third = tickets = make(count=3)
    call(scheduler, tickets)
    make.submit(count=5)
    assert scheduler.accounts.story(third).ahead == 1
    scheduler.killed(first)
    assert scheduler.accounts.story(second).ahead == 0
    assert scheduler.accounts.story(third).ahead == 0
    assert scheduler.snapshot(0).pins == 0
    (sent,) = scheduler.assign(0).values()
    assert sent[0] is second
    scheduler.validate()


def test_a_core_that_is_given_up_loses_its_pins():
    """What waited for it is placed anew, together."""
    scheduler, make = scheduler_with(3)
    tickets = make("heavy", count=40)
    call(scheduler, tickets)
    (core,) = scheduler.assign(0)
    scheduler.core_lost(core, {}, 0)
    assert scheduler.assign(0) == {}
    assert scheduler.snapshot(0).pins == 1
    assert scheduler.stranded(1 << core) == []
    (other,) = scheduler.assign(0)
    assert other != core
    assert scheduler.snapshot(0).pins == 1


def test_nothing_grows_with_keys_that_are_gone():
    """A key that comes and goes a thousand times leaves one entry at the most."""
    scheduler, make = scheduler_with(2)
    for now in range(1000):
        (ticket,) = make()
        call(scheduler, [ticket], keep=10**6, now=now)
        scheduler.assign(now)
        finish(scheduler, [ticket], now)
        assert len(scheduler._gate.sticky._listed) <= 1
    assert scheduler.snapshot(10**6).pins == 1
    assert scheduler.snapshot(2 * 10**6).pins == 0


def test_a_limited_token_behind_the_first_of_its_key_is_sent_with_it():
    """In the same order, although nothing waited for room within a limit before."""
    scheduler, make = scheduler_with(1)
    (first,) = make()
    limited = scheduler.operations.declare("one", "medium", Policy(max_running=1))
    (second,) = make()
    second.operation = limited
    call(scheduler, [first, second])
    assert scheduler.assign(0) == {1: [first, second]}
