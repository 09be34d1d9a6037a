"""The accounts: where every token is, and what becomes of those that end.

This is what the scheduler's facts have in common: the structures that they change together, the
ways in which a token leaves them, and what can be seen of them from outside.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter

import msgspec

from tokengate_mp.config.options import Policy, Weight
from tokengate_mp.config.settings import Routing
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.admit_limited import LimitedAdmission
from tokengate_mp.scheduling.cores.handover import Handover
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.cores.recall import Recall
from tokengate_mp.scheduling.cores.routing import Router
from tokengate_mp.scheduling.model.breaker import Breakers, BreakerState
from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores, as_set
from tokengate_mp.scheduling.nested.conductor import Conductor
from tokengate_mp.scheduling.policy.deadlines import Deadlines
from tokengate_mp.scheduling.policy.retry import Retries
from tokengate_mp.scheduling.snapshot import Snapshot, TicketStory, snapshot, story
from tokengate_mp.scheduling.waiting.dependencies import Dependencies
from tokengate_mp.scheduling.waiting.gate import Gate

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED
COMPLETED, FAILED = TokenState.COMPLETED, TokenState.FAILED


class SchedulerState:
    """Everything that is known of the tokens and cores of one coordinator.

    Args:
        cores: How many core domains there are.
        threads: Crew threads of each.
        routing: "strict" keeps every class to its range; "work_conserving" lets a core with
            nothing of its own to do borrow.
        poison_limit: A token that has ended so many core processes is not run again.

    Attributes:
        paused: While it is set, no token is assigned.
        breakers: Which operations take no calls.
        handover: Which process of a core is sent its tokens.
    """

    def __init__(self, cores: int, threads: int, routing: Routing, poison_limit: int = 2) -> None:
        self.cores = cores
        self.threads = threads
        self.routing = routing
        self.paused = False
        self.breakers = Breakers()
        self._operations: dict[tuple[str, Weight, Policy | None], Operation] = {}
        self._all: Cores = as_set(range(1, cores + 1))
        self._gate = Gate()
        self._dependencies = Dependencies()
        self._ledger = Ledger(cores, threads)
        self.handover = Handover(self._ledger, cores, self._withdraw)
        self._router = Router(self._gate, self._ledger, routing)
        self._admission_of_limited = LimitedAdmission(self._gate, self._ledger, self._router)
        self._evicted: Cores = 0
        self._recall = Recall(self._ledger, self._router)
        self._deadlines = Deadlines()
        self._retries = Retries(poison_limit)
        self._conductor = Conductor()
        self._homeward: dict[int, list[Ticket]] = {}  # placed already, and to be sent
        self._timed = False  # whether any operation has a time limit
        self._leading = False  # whether tokens of any are leads

    def operation(self, name: str, weight: Weight, policy: Policy | None = None) -> Operation:
        """The operation of that name, as far as it is called with that weight and policy.

        Raises:
            ValueError: Its `max_running` or `breaker` is not that of earlier calls.
        """
        if policy is not None and not policy.acts:
            policy = None
        key = name, weight, policy
        known = self._operations.get(key)
        if known is None:
            most, counted_as = (None, None) if policy is None else (policy.max_running, policy.of)
            limit = self._gate.limits.declare(counted_as or name, most)
            breaker = self.breakers.declare(name, None if policy is None else policy.breaker)
            known = Operation(name, weight, self.threads, policy, limit=limit, breaker=breaker)
            # Before it is found: a call in another thread may make a token of it at once.
            if policy is not None and policy.timeout_ns is not None:
                self._timed = True
            if policy is not None and policy.lead is not None:
                self._leading = True
            # Two threads may come here at once: the tokens of both are of one operation.
            known = self._operations.setdefault(key, known)
        return known

    def agreeing(self, name: str, policy: Policy) -> Policy:
        """A policy for calls of an operation, with the limit and breaker of earlier ones."""
        limits, breakers = self._gate.limits, self.breakers
        most = limits.declared(name) if limits.is_declared(name) else policy.max_running
        breaker = breakers.declared(name) if breakers.is_declared(name) else policy.breaker
        return msgspec.structs.replace(policy, max_running=most, breaker=breaker)

    def blocked(self) -> list[Ticket]:
        """End what waits of operations that take no calls: those tokens, now FAILED."""
        opened, self.breakers.opened = set(self.breakers.opened), []
        shut = {breaker for breaker in opened if breaker.state is not BreakerState.CLOSED}
        tickets: list[Ticket] = []
        for ticket in self.waiting_tickets() if shut else ():
            breaker = ticket.operation.breaker
            if breaker in shut and ticket.number not in breaker.probes:
                tickets.append(ticket)
        for ticket in tickets:
            ticket.stage = FAILED
            if not self._conductor.unhold(ticket.number):
                self._gate.discard(ticket)
            self._dependencies.lacking.pop(ticket.number, None)
        self._fail(tickets)
        return tickets

    # ---- views

    @property
    def waiting(self) -> int:
        """How many tokens wait."""
        return len(self._gate) + len(self._conductor.held)

    @property
    def has_waiting(self) -> bool:
        """Whether any waits, or has ended while it did and is still in its lane."""
        return bool(self._conductor.held) or self._gate.has_any()

    def counted(self, limit: ConcurrencyLimit) -> list[Ticket]:
        """What cores hold of an operation that has a limit."""
        held = (ticket for book in self._ledger.books for ticket in book.held.values())
        return [ticket for ticket in held if ticket.operation.limit is limit]

    def knows(self, operation: Operation) -> bool:
        """Whether a token of this operation object is one of this scheduler's."""
        key = operation.name, operation.weight, operation.policy
        return self._operations.get(key) is operation

    @property
    def has_room(self) -> bool:
        """Whether a core could take more."""
        return bool(self._ledger.open)

    def held(self, core: int) -> Mapping[int, Ticket]:
        """The tokens that a core was sent and has not answered for, by number."""
        return self._ledger[core].held

    @property
    def unended_count(self) -> int:
        """How many of the submitted tokens have not ended."""
        return self._ledger.submitted - sum(self._ledger.ended.values())

    def waiting_tickets(self, operation: str | None = None) -> list[Ticket]:
        """All waiting tokens, or those of one operation."""
        waiting = (*self._gate, *self._conductor.held.values())
        return [t for t in waiting if operation is None or t.operation.name == operation]

    def unended(self) -> list[Ticket]:
        """All submitted tokens that have not ended, oldest first."""
        held = self._conductor.held.values()
        return sorted([*self._gate, *held, *self._ledger], key=attrgetter("number"))

    def find(self, number: int) -> Ticket | None:
        """The submitted token of this number; None if there is none that has not ended."""
        for book in self._ledger.books:
            if (ticket := book.held.get(number)) is not None:
                return None if ticket.stage.ended else ticket
        waiting = chain(self._conductor.held.values(), self._gate)
        return next((ticket for ticket in waiting if ticket.number == number), None)

    def snapshot(self, now: int | None = None) -> Snapshot:
        """A frozen copy of all counts, at this time; None: when the scheduler was last told it."""
        if now is not None:
            self._gate.sticky.expire(now)
        return snapshot(
            self._gate,
            self._ledger,
            self._operations.values(),
            self._conductor,
            paused=self.paused,
            now=now or 0,
        )

    def story(self, ticket: Ticket) -> TicketStory:
        """What has become of one token so far."""
        return story(ticket, self._gate, self._ledger)

    def validate(self) -> None:
        """Check everything that must hold between two facts.

        Raises:
            AssertionError: It does not.
        """
        self._gate.validate()
        self._ledger.validate()
        self._conductor.validate()
        books = self._ledger.books
        self._gate.limits.validate(ticket for book in books for ticket in book.held.values())
        for breaker in tuple(self.breakers.by_name.values()):
            breaker.validate()
        unended = self.unended()
        assert len(unended) == self.unended_count, f"{len(unended)} tokens have not ended"
        numbers = {ticket.number for ticket in unended}
        assert len(numbers) == len(unended), "one is in two places"
        lacking = {number for number, count in self._dependencies.lacking.items() if count}
        assert lacking <= self._gate.withheld.keys(), "one lacks something, and is not withheld"
        assert numbers.issuperset(self._gate.sticky.members), "a key counts one that has ended"
        assert numbers >= self._gate.taken.lanes.keys(), "one that was taken has ended"
        assert numbers >= self._conductor.members.keys(), "a chain counts one that has ended"

    # ---- what stands behind

    def _time(self, tickets: Iterable[Ticket]) -> None:
        """Take note of the time limits of new tokens."""
        for ticket in tickets:
            policy = ticket.operation.policy
            if policy is not None and policy.timeout_ns is not None:
                self._deadlines.add(ticket, ticket.created + policy.timeout_ns)

    def _sort(
        self,
        tickets: Sequence[Ticket],
        durations: Sequence[int],
        failed: Mapping[int, BaseException],
        blocked: Collection[int],
        now: int,
    ) -> None:
        """Let each operation observe its own of these outcomes."""
        if failed:
            raised = [t for t in tickets if t.stage is COMPLETED and t.number in failed]
            self._ledger.ended[COMPLETED] -= len(raised)
            errors = [(ticket, failed[ticket.number]) for ticket in raised]
            self._fail([t for t, e in errors if not self._run_again(t, e, now, lost=False)], now)
        for ticket in tickets:
            if ticket.stage is COMPLETED:
                ticket.operation.completed += 1
        runs: defaultdict[Operation, list[int]] = defaultdict(list)
        for ticket, duration in zip(tickets, durations, strict=True):
            runs[ticket.operation].append(duration)
        waited = Counter(t.operation for t in tickets if t.number in blocked) if blocked else {}
        for operation, own in runs.items():
            operation.observe(own, blocking=waited.get(operation, 0) * 2 > len(own))

    def _run_again(self, ticket: Ticket, error: BaseException, now: int, *, lost: bool) -> bool:
        """Let a token wait for another run, if it is to have one."""
        pause = self._retries.again(ticket, error, lost=lost)
        if pause is None:
            return False
        ticket.operation.retried += 1
        if self._gate.taken:
            self._gate.returning([ticket])
        if pause:
            self._gate.postpone(ticket, now + pause)
        elif self._conductor.hold(ticket):
            ticket.stage = WAITING
        else:
            self._gate.interleave(ticket)
        return True

    def _reenter(self, tickets: Iterable[Ticket], *, given_back: bool) -> None:
        """Let those of them that have not ended, and were not begun, wait again."""
        free = [ticket for ticket in tickets if ticket.stage is ADMITTED]
        if self._gate.taken:
            self._gate.returning(free)
        conductor = self._conductor
        if conductor.members:
            returning, free = free, []
            for ticket in returning:
                if given_back and conductor.taken_back(ticket.number):
                    free.append(ticket)
                elif conductor.hold(ticket):
                    ticket.stage = WAITING
                else:
                    free.append(ticket)
        self._gate.reenter(free)

    def _withdraw(self, core: int) -> None:
        """Let what was placed on a core, and is still to be sent there, wait again."""
        book = self._ledger[core]
        unsent = [t.number for t in self._homeward.pop(core, ()) if t.number in book.held]
        if unsent:
            tickets = book.take_back(unsent)
            self._ledger.lightened(book)
            self._reenter(tickets, given_back=True)

    def _completed(self, tickets: Iterable[Ticket], now: int) -> None:
        """Those of them that have completed have no trial any more, and tell their breaker."""
        completed = [ticket for ticket in tickets if ticket.stage is COMPLETED]
        for ticket in completed:
            self._retries.forget(ticket)
        if self.breakers.by_name:
            self.breakers.completed(completed, now)

    def _end(self, ticket: Ticket, stage: TokenState, now: int | None = None) -> None:
        """End a token before its time; `now`, if it counts as failed."""
        if self.breakers.by_name:
            self.breakers.failed([ticket], now)
        before, ticket.stage = ticket.stage, stage
        if before is WAITING and not self._conductor.unhold(ticket.number):
            self._gate.discard(ticket)
        elif before is TokenState.CREATED:
            self._ledger.submitted += 1  # it counts as known from here on
        self._ledger.ended[stage] += 1
        self._retries.forget(ticket)
        self._left([ticket])

    def _fail(self, tickets: Sequence[Ticket], now: int | None = None) -> None:
        """End tokens as failed; `now`, if they have been run."""
        if self.breakers.by_name:
            self.breakers.failed(tickets, now)
        for ticket in tickets:
            ticket.stage = FAILED
            ticket.operation.failed += 1
            self._retries.end(ticket)
        self._ledger.ended[FAILED] += len(tickets)
        self._left(tickets)

    def _left(self, tickets: Collection[Ticket]) -> None:
        """Those of them that have ended count no more: in no chain, for no key, as no need."""
        if self._conductor.members:
            for ticket in tickets:
                if ticket.stage.ended:
                    self._conductor.left(ticket.number)
        if self._dependencies.needed or self._dependencies.lacking:
            self._dependencies.note(tickets)
        if self._gate.sticky.members:
            for ticket in tickets:
                if ticket.stage.ended:
                    self._gate.left(ticket)
        if self._gate.taken:
            self._gate.taken.left(tickets)
