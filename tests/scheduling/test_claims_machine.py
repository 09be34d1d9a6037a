"""Claims, waits and orphans, driven by crews whose threads make tokens and wait for them."""

from __future__ import annotations

from collections import Counter

from crews import FakeSeat
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from machines import run_until_all
from tickets import MS, FakeNestedTicket, FakeTicket, held_by

from tokengate_mp.config.options import Policy
from tokengate_mp.config.seeds import Lead
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.nested.claims import Claims
from tokengate_mp.scheduling.nested.orphans import Orphans
from tokengate_mp.scheduling.nested.waits import Waits
from tokengate_mp.scheduling.scheduler import Scheduler

KINDS = {
    "plain": None,
    "one": Policy(max_running=1),
    "two": Policy(max_running=2),
    "again": Policy(retries=1),
    "alone": Policy(exclusive=True),
    "lead": Policy(lead=Lead("[]")),
}
STEP = st.tuples(
    st.sampled_from(["make", "make", "wait", "wait", "end"]),
    st.sampled_from([kind for kind in sorted(KINDS) if kind != "lead"]),
    st.sampled_from(["light", "heavy"]),
    st.integers(0, 3),
)
RAN = Counter()
"""What has come about, in all runs of the machine."""


def with_dependencies(ticket):
    """A token, and all that it needs before it can run, as hints tell by and by."""
    return [ticket, *(each for need in ticket.dependencies for each in with_dependencies(need))]


class ClaimsMachine(RuleBasedStateMachine):
    """Whatever waits for whatever, all goes on in the end, with however few threads."""

    @initialize(
        cores=st.integers(1, 3),
        threads=st.integers(1, 3),
        routing=st.sampled_from(["strict", "work_conserving"]),
    )
    def start(self, cores, threads, routing):
        self.scheduler = Scheduler(cores, threads, routing)
        self.cores = range(1, cores + 1)
        self.threads = threads
        self.now = 0
        self.tickets = {}
        self.children = {}  # of each token: those that it made
        self.chain = {}  # of each token of a chain: the lead's number
        self.needed = set()
        self.seats = {core: FakeSeat(core, threads) for core in self.cores}
        accounts = self.scheduler.accounts
        self.waits = Waits(accounts, self.seats)
        self.claims = Claims(self.scheduler, accounts, self.seats, self.waits)
        self.orphans = Orphans(accounts, self.seats, self.waits, self.find_nested, self.needed)
        for core in self.cores:
            self.scheduler.core_ready(core)
        # So that something runs from the first.
        for kind in ("plain", "lead"):
            self.call(kind, "heavy")
        self.turn()
        for seat in self.seats.values():
            for thread in seat.threads:
                self.begin_next(seat, thread)

    # ---- the model's own words

    def find_nested(self, number):
        ticket = self.tickets.get(number)
        return ticket if isinstance(ticket, FakeNestedTicket) else None

    def unbegun(self, seat):
        begun = set(seat.running())
        return [t for n, t in held_by(self.scheduler, seat.seat).items() if n not in begun]

    def new(self, kind, weight, cls=FakeTicket):
        operation = self.scheduler.operations.declare(kind, weight, KINDS[kind])
        ticket = cls(len(self.tickets) + 1, operation, created=self.now)
        self.tickets[ticket.number] = ticket
        self.children[ticket.number] = []
        if kind == "lead":
            self.chain[ticket.number] = ticket.number
        return ticket

    def begin_next(self, seat, thread):
        """A free thread takes the next token of its process, which drops those that were ended."""
        if thread.stack or (seat.is_taken and thread is not seat.threads[0]):
            return False
        ticket = self.next_of(seat)
        if ticket is None or (ticket.operation.exclusive and not self.may_be_alone(seat, thread)):
            return False
        thread.begin(ticket)
        return True

    def next_of(self, seat):
        """The token that a process comes to next: an exclusive one that is awaited there is."""
        unbegun = self.unbegun(seat)
        for ticket in [t for t in unbegun if t.stage.ended]:
            self.scheduler.dropped(seat.seat, [ticket.number])
        left = [t for t in unbegun if not t.stage.ended]
        awaited = [thread.awaited[-1] for thread in seat.threads if thread.waits]
        first = [t for t in left if t.operation.exclusive and any(t is a for a in awaited)]
        return next(iter([*first, *left]), None)

    def may_be_alone(self, seat, thread):
        """Whether a thread may begin an exclusive token: the first, beside none but who waits."""
        RAN["not yet alone"] += thread is seat.threads[0] and not seat.is_quiet
        return thread is seat.threads[0] and seat.is_quiet

    def begin_alone_on_top(self, seat, thread):
        """The first thread begins an exclusive token whose turn it is, on top of one that waits."""
        ticket = self.next_of(seat)
        if seat.is_taken or len(seat.threads) == 1 or ticket is None:
            return False
        if not (ticket.operation.exclusive and self.may_be_alone(seat, thread)):
            return False
        thread.begin(ticket)
        RAN["alone on top"] += 1
        return True

    def begin_awaited(self, seat, thread):
        """A thread that waits for a token begins it, if its process has it."""
        awaited = thread.awaited[-1] if thread.waits else None
        for ticket in [] if awaited is None else with_dependencies(awaited):
            if ticket.operation.exclusive and not self.may_be_alone(seat, thread):
                continue
            if any(ticket is mine for mine in self.unbegun(seat)) and not ticket.stage.ended:
                RAN["alone"] += ticket.operation.exclusive
                below = thread.top.number
                thread.begin(ticket)
                RAN["on top"] += 1
                self.orphans.found_waiting(seat.seat, below)
                self.kill_orphans()
                return True
        if awaited is not None and not thread.claimed[-1]:
            thread.claimed[-1] = True
            self.claim(awaited, seat, thread.top.number)
        return awaited is not None and self.begin_alone_on_top(seat, thread)

    def finish(self, seat, thread, *, fails=False):
        """The token that a thread runs ends there; if it was ended here, the core says no more."""
        ticket = thread.end_top()
        if ticket.number not in held_by(self.scheduler, seat.seat):
            return
        failed = {ticket.number: ValueError()} if fails and not ticket.stage.ended else {}
        self.scheduler.settle(seat.seat, [ticket.number], [MS], self.now, failed=failed)
        if ticket.stage is TokenState.WAITING:
            self.children[ticket.number] = []  # the next run will make its own
            RAN["again"] += 1
            self.claims.tokens_wait_again()

    def kill_orphans(self):
        for ticket, reason in self.orphans.take_orphans():
            assert not ticket.stage.ended
            assert not ticket.visible
            assert ticket.number not in self.needed
            assert reason
            RAN["orphans"] += 1
            self.kill_ticket(ticket)

    def kill_ticket(self, ticket):
        seat = self.scheduler.accounts.seat_of(ticket)
        if self.scheduler.killed(ticket) and seat:
            self.orphans.waiter_ended(ticket)
            self.kill_orphans()

    # ---- facts

    @rule(kind=st.sampled_from(sorted(KINDS)), weight=st.sampled_from(["light", "heavy"]))
    def call(self, kind, weight):
        self.scheduler.submitted([self.new(kind, weight)])

    @rule(steps=st.lists(st.tuples(st.integers(0, 11), STEP), min_size=1, max_size=12))
    def work_on(self, steps):
        """Threads do, each in turn, what they can: begin, make, wait or end."""
        for at, step in steps:
            self.step(at, step)

    def step(self, at, step):
        action, kind, weight, choice = step
        threads = [(seat, t) for seat in self.seats.values() for t in seat.threads]
        seat, thread = threads[at % len(threads)]
        if seat.is_taken and thread is not seat.threads[0]:
            RAN["held up"] += bool(thread.stack) and not thread.waits
        elif thread.waits:
            self.begin_awaited(seat, thread)
        elif not thread.stack:
            self.begin_next(seat, thread)
        elif action == "end" or thread.top.stage.ended:
            self.finish(seat, thread, fails=choice == 0)
        elif action == "wait":
            self.wait(seat, thread, choice)
        else:
            self.make(seat, thread, kind, weight, choice)

    def make(self, seat, thread, kind, weight, choice):
        """A token that runs makes another, which may depend on what it made before."""
        maker = thread.top.number
        earlier = [t for t in self.children[maker] if not t.stage.ended]
        ticket = self.new(kind, weight, FakeNestedTicket)
        lead = self.chain.get(maker)
        self.children[maker].append(ticket)
        if lead is not None:
            self.chain[ticket.number] = lead
        if choice == 0 and earlier:
            other = earlier[-1]
            ticket.dependencies = [other]
            self.needed.add(other.number)
            if lead is not None:
                self.scheduler.relations.enlisted(ticket.number, lead, seat.core)
            self.scheduler.relations.withheld(ticket, [(other.number, 0)])
            RAN["dependent"] += 1
        elif lead is not None:
            self.scheduler.relations.joined(ticket, lead, seat.seat, self.now)
            RAN["member"] += 1
        else:
            self.scheduler.submitted([ticket])

    def wait(self, seat, thread, choice):
        """A thread waits for what its token has made, and claims it unless it can begin it."""
        made = [t for t in self.children[thread.top.number] if not t.stage.ended]
        if not made:
            return
        thread.wait_for(made[choice % len(made)])
        RAN["wait"] += 1
        self.begin_awaited(seat, thread)

    def claim(self, ticket, seat, waiter):
        self.claims.claim(ticket, seat, waiter)
        self.orphans.found_waiting(seat.seat, waiter)
        self.kill_orphans()

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        self.kill_ticket(self.tickets[data.draw(st.sampled_from(sorted(self.tickets)))])

    @rule(data=st.data())
    def show(self, data):
        """The caller gets hold of a nested token: it is an orphan no more."""
        nested = [t for t in self.tickets.values() if isinstance(t, FakeNestedTicket)]
        if nested:
            data.draw(st.sampled_from(nested)).visible = True

    @rule(at=st.integers(0, 4))
    def lose_process(self, at):
        if at >= len(self.seats):
            return
        seat = list(self.seats.values())[at]
        held = held_by(self.scheduler, seat.seat)
        running = {n: OSError() for n in seat.running() if n in held}
        self.children.update((number, []) for number in running)
        lost = self.scheduler.core_lost(seat.seat, running, self.now)
        del self.seats[seat.seat]
        if seat.seat == seat.core:
            self.seats[seat.core] = FakeSeat(seat.core, self.threads)
            self.scheduler.handover.begin_process(seat.core, None)
            self.scheduler.core_ready(seat.core)
        else:
            self.scheduler.handover.end_draining(seat.seat)
        for ticket in lost:
            self.orphans.waiter_ended(ticket)
        self.kill_orphans()
        self.claims.withdraw_process(seat)
        assert all(own is not seat for _, own in self.claims.pending.values())
        assert all(own is not seat for _, own in self.claims.granted.values())
        RAN["lost"] += bool(lost)

    @precondition(lambda self: len(self.seats) < 5)
    @rule(data=st.data())
    def hand_over(self, data):
        old = self.seats.pop(data.draw(st.sampled_from(self.cores)))
        old.seat = self.scheduler.handover.relieve(old.core)
        self.seats[old.seat] = old
        self.seats[old.core] = FakeSeat(old.core, self.threads)
        self.scheduler.handover.begin_process(old.core, None)
        self.scheduler.core_ready(old.core)
        self.give_back(old)

    # ---- orders

    @rule()
    def turn(self):
        self.now += 1  # as no two times are the same
        self.walk()
        orders = self.claims.grant(self.now)
        for ticket, seat in orders.send:
            assert ticket.stage is TokenState.ADMITTED
            assert self.scheduler.accounts.seat_of(ticket) == seat
            RAN["granted"] += 1
            self.let_past_its_limit_only_when_stalled(ticket, {t.number for t, _ in orders.send})
        for seat, number, lacking in orders.hint:
            assert all(not each.stage.ended for each in lacking)
            RAN["hint"] += 1
            for thread in self.seats[seat].threads:
                wanted = with_dependencies(thread.awaited[-1]) if thread.waits else []
                if lacking and any(number == each.number for each in wanted):
                    self.claim(lacking[0], self.seats[seat], thread.top.number)
        for seat in orders.recall:
            RAN["asked"] += 1
            self.give_back(self.seats[seat])
        for core, sent in self.scheduler.assign(self.now).items():
            assert core in self.cores
            assert all(self.scheduler.accounts.seat_of(ticket) == core for ticket in sent)

    def let_past_its_limit_only_when_stalled(self, ticket, sent):
        limit = ticket.operation.limit
        if limit is None or limit.held <= limit.most:
            return
        RAN["stalled"] += 1
        for other in self.scheduler.accounts.counted_by(limit):
            if other is ticket or other.number in sent:
                continue
            seat = self.seats[self.scheduler.accounts.seat_of(other)]
            on = [thread for thread in seat.threads if other in thread.stack]
            if on:
                assert on[0].waits or on[0].top is not other
            else:
                assert seat.waits(), f"{other} could begin, and {ticket} wait for that"

    def give_back(self, seat):
        """A process gives back what it has not begun, but what can be run there alone."""
        for ticket in self.unbegun(seat):
            if ticket.stage.ended:
                self.scheduler.dropped(seat.seat, [ticket.number])
            elif not self.scheduler.accounts.is_bound(ticket):
                self.scheduler.given_back(seat.seat, [ticket.number])
                RAN["given back"] += 1
        self.claims.tokens_wait_again()

    def walk(self):
        """Pass on what has ended to those that depend on it."""
        while ended := self.scheduler.relations.take_ended():
            for ticket, dependents in ended:
                self.needed.discard(ticket.number)
                for dependent, _ in dependents:
                    if dependent.stage.ended:
                        continue
                    if ticket.stage is TokenState.KILLED:
                        self.scheduler.killed(dependent)
                    elif ticket.stage is TokenState.FAILED:
                        self.scheduler.relations.failed(dependent)
                    elif self.scheduler.relations.supplied(dependent):
                        self.scheduler.relations.released(dependent, None, 0, self.now)

    @rule()
    def take_back(self):
        self.now += RECALL_NS
        for seat in [
            *self.scheduler.overdue(self.now),
            *self.claims.overdue_recalls(self.now - RECALL_NS),
        ]:
            self.give_back(self.seats[seat])

    @rule(steps=st.lists(st.tuples(st.integers(0, 11), STEP), min_size=1, max_size=12))
    def work_and_turn(self, steps):
        """As happens most."""
        for step in steps:
            self.step(*step)
            self.turn()

    # ---- what always holds

    @invariant()
    def accounts_are_right(self):
        if not hasattr(self, "scheduler"):
            return
        self.scheduler.validate()
        self.claims.validate()
        for seat in self.seats.values():
            held = held_by(self.scheduler, seat.seat)
            assert set(seat.running()) <= held.keys(), "a thread runs what its process has not got"
            for thread in seat.threads[1:]:
                assert not any(t.operation.exclusive for t in thread.stack), "not in the first"

    def teardown(self):
        """With nothing but threads that go on where they can, every token ends."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(20 * len(self.tickets) + 20):
            if not self.scheduler.accounts.unended_count:
                break
            self.turn()
            for at in range(sum(len(seat.threads) for seat in self.seats.values())):
                self.step(at, ("end", "plain", "light", 1))
            self.take_back()  # long after a thread that waits has begun what it was sent
            self.accounts_are_right()
        assert not self.scheduler.accounts.unended_count, self.scheduler.accounts.unended()
        for seat in self.seats.values():
            for thread in seat.threads:
                while thread.stack:
                    self.finish(seat, thread)
        self.turn()
        self.claims.tokens_wait_again()
        self.turn()
        self.claims.validate()
        assert not self.claims.pending
        assert not self.claims.granted
        assert not self.waits._awaited
        assert not self.waits._waiters


IMPORTANT = [
    *["wait", "granted", "on top", "dependent", "member", "orphans", "given back", "lost"],
    "alone",
]
"""What has to have happened, or the examples show little."""


def test_whoever_waits_goes_on():
    """Of tokens that threads wait for, one can always go on; orphans end, and nothing is left."""
    chosen = settings(max_examples=100, stateful_step_count=40, deadline=None)
    run_until_all(ClaimsMachine, RAN, IMPORTANT, chosen)
