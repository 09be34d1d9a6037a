"""The scheduler: facts in, orders out.

It decides which waiting token goes to which core, and when; it performs nothing. One thread at a
time may call it. Time comes in as an argument, in ns of any one monotonic clock.

    facts                                           orders that follow
    submitted(tickets)                              assign(now): core → tickets to send there
    anchored(calls, now)                            assign(now)
    withheld(ticket, needs)                         -
    released(ticket, key, keep, now)                assign(now)
    joined(ticket, lead, core, now)                 -
    core_ready(core)                                assign(now)
    settle(core, numbers, durations, now)           end these tickets, then assign(now)
    given_back(core, numbers)                       assign(now)
    dropped(core, numbers)                          assign(now)
    hungry(core)                                    assign(now)
    claimed(ticket, core, now)                      send it there
    waits(core)                                     -
    parent_beside(cores)                            -
    core_lost(core, running, now)                   end these tickets as lost, then assign(now)
    killed(ticket)                                  -
    tick(now)                                       end these tickets as timed out, then assign(now)
    paused, pause(operation), resume(operation)     assign(now)
    stranded(gone)                                  end these tickets as failed
    (time passes)                                   overdue(now): take back what these cores hold

Where tokens wait is the gate's affair, where they are held the ledger's, and the router moves them
from the one to the other. Here is what each fact means to all three.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.options import Policy, Routing, Weight
from tokengate_mp.scheduling.conductor import Conductor
from tokengate_mp.scheduling.deadlines import Deadlines
from tokengate_mp.scheduling.gate import Gate
from tokengate_mp.scheduling.graph import Graph
from tokengate_mp.scheduling.ledger import Ledger
from tokengate_mp.scheduling.operation import Operation
from tokengate_mp.scheduling.recall import Recall
from tokengate_mp.scheduling.retry import Retries
from tokengate_mp.scheduling.routing import Router
from tokengate_mp.scheduling.snapshot import Snapshot, TicketStory, snapshot, story
from tokengate_mp.scheduling.ticket import Ticket
from tokengate_mp.scheduling.weights import ALL_CORES, Cores, as_set

_NOBODY: Final = frozenset[int]()
_NONE: Final[Mapping[int, BaseException]] = MappingProxyType({})
_operation: Callable[[Ticket], Operation] = attrgetter("operation")

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED
COMPLETED, FAILED = TokenState.COMPLETED, TokenState.FAILED
KILLED, TIMEOUT = TokenState.KILLED, TokenState.TIMEOUT


def _leads(ticket: Ticket) -> bool:
    """Whether a token is the lead of a chain."""
    policy = ticket.operation.policy
    return policy is not None and policy.lead is not None


class Scheduler:
    """Admission, routing and accounting for a fixed number of cores.

    Args:
        cores: How many core domains there are.
        threads: Crew threads of each.
        routing: "strict" keeps every class to its range; "work_conserving" lets a core with
            nothing of its own to do borrow.
        poison_limit: A token that has ended so many core processes is not run again.

    Attributes:
        paused: While it is set, no token is assigned.
    """

    def __init__(self, cores: int, threads: int, routing: Routing, poison_limit: int = 2) -> None:
        self.cores = cores
        self.threads = threads
        self.routing = routing
        self.paused = False
        self._operations: dict[tuple[str, Weight, Policy | None], Operation] = {}
        self._all: Cores = as_set(range(1, cores + 1))
        self._gate = Gate()
        self._graph = Graph()
        self._ledger = Ledger(cores, threads)
        self._router = Router(self._gate, self._ledger, routing)
        self._evicted: Cores = 0
        self._recall = Recall(self._ledger, self._router)
        self._deadlines = Deadlines()
        self._retries = Retries(poison_limit)
        self._conductor = Conductor()
        self._timed = False  # whether any operation has a time limit
        self._leading = False  # whether tokens of any are leads

    # ---- facts

    def operation(self, name: str, weight: Weight, policy: Policy | None = None) -> Operation:
        """The operation of that name, as far as it is called with that weight and policy."""
        if policy is not None and not policy.acts:
            policy = None
        key = name, weight, policy
        known = self._operations.get(key)
        if known is None:
            known = self._operations[key] = Operation(name, weight, self.threads, policy)
            self._timed |= policy is not None and policy.timeout_ns is not None
            self._leading |= policy is not None and policy.lead is not None
        return known

    def submitted(self, tickets: Sequence[Ticket]) -> None:
        """New tokens, in the order of their calls; those killed on the way here stay ended."""
        self._ledger.submitted += self._gate.enter(tickets)
        if self._timed:
            self._time(tickets)
        if self._leading:
            for ticket in tickets:
                if ticket.stage is WAITING and _leads(ticket):
                    self._conductor.open(ticket.number)

    def anchored(self, calls: Collection[tuple[Ticket, bytes, int]], now: int) -> None:
        """New tokens that go where others of the same key are.

        Args:
            calls: Each token, its key, and for how long that stays pinned after its last token, ns.
            now: The time.
        """
        self._gate.sticky.expire(now)
        self._ledger.submitted += self._gate.enter_anchored(calls)
        if self._timed:
            self._time([ticket for ticket, _, _ in calls])

    def withheld(self, ticket: Ticket, needs: Iterable[tuple[int, int]]) -> None:
        """A new token waits for others, and gets into a lane when it is `released`.

        Args:
            ticket: The token.
            needs: The numbers of the others, which have not ended, each with which of the token's
                needs it is.
        """
        entered = self._gate.withhold(ticket)
        self._ledger.submitted += entered
        if entered:
            self._graph.add(ticket, needs)
            if self._timed:
                self._time([ticket])

    def take_ended(self) -> list[tuple[Ticket, list[tuple[Ticket, int]]]]:
        """Tokens that others wait for and that have ended since the last time.

        Returns:
            Each with those that wait for it, and as which of their needs. (Some may have ended.)
        """
        return self._graph.take_ended() if self._graph.ended else []

    def supplied(self, ticket: Ticket) -> bool:
        """A token that is withheld got one of its needs; whether it has all of them now."""
        return self._graph.supplied(ticket)

    def released(self, ticket: Ticket, key: bytes | None, keep: int, now: int) -> None:
        """A token that was withheld has all that it needs.

        Args:
            ticket: The token.
            key: Its key, if it goes where others of that key are (see `anchored`).
            keep: For how long that stays pinned, ns.
            now: The time.
        """
        self._graph.lacking.pop(ticket.number, None)
        if key is not None:
            self._gate.sticky.expire(now)
        self._gate.release(ticket, key, keep)

    def failed(self, ticket: Ticket) -> None:
        """A token that is withheld cannot run."""
        self._gate.discard(ticket)
        self._graph.lacking.pop(ticket.number, None)
        self._fail([ticket])

    def joined(self, ticket: Ticket, lead: int, core: int, now: int) -> None:
        """A token was made in the chain of this lead, and is on the chain's core already."""
        self._ledger.submitted += 1
        self._conductor.join(ticket.number, lead, core)
        if _leads(ticket):
            self._conductor.open(ticket.number)
        self._router.place(ticket, self._ledger[core], now)
        if self._timed:
            self._time([ticket])

    def core_ready(self, core: int) -> None:
        """A process of this core can take tokens."""
        self._evicted &= ~(1 << core)
        self._ledger.enrol(self._ledger[core])

    def settle(  # noqa: PLR0913 - the two rare kinds of outcome cost nothing as sets
        self,
        core: int,
        numbers: Sequence[int],
        durations: Sequence[int],
        now: int,
        *,
        failed: Mapping[int, BaseException] = _NONE,
        blocked: Collection[int] = _NOBODY,
    ) -> list[Ticket]:
        """Outcomes of a core have arrived.

        Args:
            core: The core.
            numbers: Whose outcomes they are.
            durations: How long each of them ran, ns, in the same order.
            now: The time.
            failed: Which of them raised, and what.
            blocked: Which of them spent most of their time off the CPU.

        Returns:
            Their tickets in the same order, now COMPLETED or FAILED, or WAITING to be run again;
            those that had been ended before stay as they were.

        Raises:
            KeyError: The core does not hold one of them. Nothing has changed then.
        """
        if not numbers:
            return []  # no outcome is no progress either
        book = self._ledger[core]
        tickets = book.strike(numbers)
        load = ended = 0
        for ticket in tickets:  # the one loop here that all tokens pass through
            load += ticket.cost
            if ticket.stage is ADMITTED:
                ticket.stage = COMPLETED
                ended += 1
        book.load -= load
        book.answered += len(tickets)
        book.progress = now
        book.floor = 0
        book.stuck = False
        self._ledger.lightened(book)
        self._ledger.ended[COMPLETED] += ended
        # Most batches are of one operation, and then there is nothing to sort.
        operations = set(map(_operation, tickets))
        if len(operations) == 1 and not failed and not blocked:
            operation = operations.pop()
            operation.completed += ended
            operation.observe(durations, blocking=False)
        else:
            self._sort(tickets, durations, failed, blocked, now)
        if self._retries.trials:
            for ticket in tickets:
                if ticket.stage is COMPLETED:
                    self._retries.forget(ticket)
        self._left(tickets)
        return tickets

    def given_back(self, core: int, numbers: Sequence[int]) -> None:
        """A core gave back tokens it had not begun.

        Raises:
            KeyError: The core does not hold one of them. Nothing has changed then.
        """
        book = self._ledger[core]
        tickets = book.take_back(numbers)
        book.stuck = True
        self._ledger.lightened(book)
        self._reenter(tickets, given_back=True)

    def dropped(self, core: int, numbers: Sequence[int]) -> None:
        """A core has ended, or not begun, tokens that had been ended here.

        Raises:
            KeyError: The core does not hold one of them. Nothing has changed then.
        """
        book = self._ledger[core]
        tickets = book.take_back(numbers)
        book.answered += len(tickets)
        book.stuck = False
        self._ledger.lightened(book)
        self._reenter(tickets, given_back=True)

    def parent_beside(self, cores: Cores) -> None:
        """The parent keeps the CPU of these cores busy (a set of bits; 0: it is about to sleep)."""
        self._ledger.beside = cores

    def hungry(self, core: int) -> None:
        """A core has threads free, and every token it runs is blocked."""
        book = self._ledger[core]
        if book.ready:
            book.floor = self.threads
            book.stuck = False
            self._ledger.open |= 1 << core

    def claimed(self, ticket: Ticket, core: int, now: int) -> bool:
        """A thread of this core waits for a token, and would rather run it itself.

        Returns:
            Whether it is to be sent there: it was waiting, and is ADMITTED now. It goes before all
            others, whatever its class and the core's window: that thread has nothing else to do.
        """
        book = self._ledger[core]
        if ticket.stage is not WAITING or self.paused or not book.ready:
            return False
        if not self._gate.take(ticket):  # its operation is paused, or it is not yet to run again
            return False
        self._router.place(ticket, book, now)
        self._conductor.landed(ticket.number, core)
        return True

    def waits(self, core: int) -> None:
        """Every thread of this core waits for a token: it would begin no other that it were sent.

        It is open again when it has answered something.
        """
        if self._ledger[core].held:
            self._ledger.open &= ~(1 << core)

    def core_lost(self, core: int, running: Mapping[int, BaseException], now: int) -> list[Ticket]:
        """The process of this core is gone, and all outcomes it left behind are settled.

        Args:
            core: The core.
            running: The tokens that its crew was running, and the error of each.
            now: The time.

        Returns:
            Those of them that had not ended and are not to be run again, now FAILED. What it held
            besides waits again.
        """
        tickets = self._ledger.strike_off(self._ledger[core])
        unended = [ticket for ticket in tickets if ticket.stage is ADMITTED]
        errors = [(t, running[t.number]) for t in unended if t.number in running]
        lost = [t for t, error in errors if not self._run_again(t, error, now, lost=True)]
        self._fail(lost)
        self._reenter(unended, given_back=False)
        return lost

    def killed(self, ticket: Ticket) -> bool:
        """A token was ended on request; False if it had ended already.

        It may be one that was not submitted yet.
        """
        if ticket.stage.ended:
            return False
        self._end(ticket, KILLED)
        ticket.operation.killed += 1
        return True

    def tick(self, now: int) -> list[Ticket]:
        """Time has passed: the tokens whose time is up, now TIMEOUT.

        Those whose pause before another run is over can be assigned again.
        """
        for ticket in self._gate.take_due(now):
            if not self._conductor.hold(ticket):
                self._gate.interleave(ticket)
        overdue = self._deadlines.due(now)
        for ticket in overdue:
            self._end(ticket, TIMEOUT)
            ticket.operation.timeout += 1
        return overdue

    def pause(self, operation: str) -> None:
        """Assign no token of this operation until it is resumed."""
        self._gate.pause(operation)

    def resume(self, operation: str) -> None:
        """Assign them again."""
        self._gate.resume(operation)

    def stranded(self, gone: Cores = ALL_CORES) -> list[Ticket]:
        """Waiting tokens that may run on no other core than those of `gone`, now FAILED.

        Args:
            gone: Cores that will never be ready again, as a set of bits.
        """
        gone &= self._all
        if gone & ~self._evicted:
            self._evicted |= gone
            self._gate.evict(gone)
        reach = self._router.reach.items()
        weights = [weight for weight, cores in reach if not cores & self._all & ~gone]
        stranded: list[Ticket] = []
        # With the first token of a key another one becomes the first.
        while tickets := self._gate.empty(weights):
            self._fail(tickets)
            stranded += tickets
        if self._conductor.members:
            left = [core for core in range(1, self.cores + 1) if not gone >> core & 1]
            homeless = self._conductor.evict(gone, left[0] if left else None)
            self._fail(homeless)
            stranded += homeless
        return stranded

    # ---- orders

    def assign(self, now: int) -> dict[int, list[Ticket]]:
        """Which waiting tokens to send where, at this time; they are ADMITTED with this."""
        if self.paused:
            return {}
        if self._gate.sticky.leaving:
            self._gate.sticky.expire(now)
        orders = self._router.assign(now)
        if self._conductor.members:
            self._conduct(orders, now)
        return orders

    def _conduct(self, orders: dict[int, list[Ticket]], now: int) -> None:
        """Pin the chains of leads that are sent, and send what is held for a chain's core."""
        conductor = self._conductor
        if conductor.unlanded:
            for core, tickets in orders.items():
                for ticket in tickets:
                    conductor.landed(ticket.number, core)
        if conductor.held:
            for ticket, core in conductor.ready(self._ledger.ready, self._gate.lets_pass):
                self._router.place(ticket, self._ledger[core], now)
                orders.setdefault(core, []).append(ticket)

    def next_tick(self) -> int | None:
        """When `tick` will have something to do, ns; None if never."""
        if self._deadlines or self._gate.postponed:
            times = (self._deadlines.next(), self._gate.next_due())
            return min((at for at in times if at is not None), default=None)
        return None

    def overdue(self, now: int) -> list[int]:
        """Cores to ask for what they have not begun, because another core has nothing to do."""
        return self._recall.overdue(now)

    def could_recall(self) -> bool:
        """Whether `overdue` will have an answer, now or later, if nothing else happens."""
        return self._recall.is_possible()

    # ---- views

    @property
    def waiting(self) -> int:
        """How many tokens wait."""
        return len(self._gate) + len(self._conductor.held)

    @property
    def has_waiting(self) -> bool:
        """Whether any waits, or has ended while it did and is still in its lane."""
        return bool(self._conductor.held) or self._gate.has_any()

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
        return self._ledger.submitted - self._ledger.ended.total()

    def waiting_tickets(self, operation: str | None = None) -> list[Ticket]:
        """All waiting tokens, or those of one operation."""
        waiting = (*self._gate, *self._conductor.held.values())
        return [t for t in waiting if operation is None or t.operation.name == operation]

    def unended(self) -> list[Ticket]:
        """All submitted tokens that have not ended, oldest first."""
        held = self._conductor.held.values()
        return sorted([*self._gate, *held, *self._ledger], key=attrgetter("number"))

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
        unended = self.unended()
        assert len(unended) == self.unended_count, f"{len(unended)} tokens have not ended"
        numbers = {ticket.number for ticket in unended}
        assert len(numbers) == len(unended), "one is in two places"
        lacking = {number for number, count in self._graph.lacking.items() if count}
        assert lacking <= self._gate.withheld.keys(), "one lacks something, and is not withheld"
        assert numbers.issuperset(self._gate.sticky.members), "a key counts one that has ended"
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
            self._fail([t for t, e in errors if not self._run_again(t, e, now, lost=False)])
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
        conductor = self._conductor
        if conductor.members:
            for ticket in list(free):
                if given_back and conductor.taken_back(ticket.number):
                    continue
                if conductor.hold(ticket):
                    ticket.stage = WAITING
                    free.remove(ticket)
        self._gate.reenter(free)

    def _end(self, ticket: Ticket, stage: TokenState) -> None:
        """End a token before its time."""
        before, ticket.stage = ticket.stage, stage
        if before is WAITING and not self._conductor.unhold(ticket.number):
            self._gate.discard(ticket)
        elif before is TokenState.CREATED:
            self._ledger.submitted += 1  # it counts as known from here on
        self._ledger.ended[stage] += 1
        self._retries.forget(ticket)
        self._left([ticket])

    def _fail(self, tickets: Sequence[Ticket]) -> None:
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
        if self._graph.needed or self._graph.lacking:
            self._graph.note(tickets)
        if self._gate.sticky.members:
            for ticket in tickets:
                if ticket.stage.ended:
                    self._gate.left(ticket)
