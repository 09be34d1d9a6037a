"""The scheduler: facts in, orders out.

It decides which waiting token goes to which core, and when; it performs nothing. One thread at a
time may call it. Time comes in as an argument, in ns of any one monotonic clock.

    facts                                           orders that follow
    submitted(tickets)                              assign(now): core → tickets to send there
    core_ready(core)                                assign(now)
    settle(core, numbers, durations, now)           end these tickets, then assign(now)
    given_back(core, numbers)                       assign(now)
    dropped(core, numbers)                          assign(now)
    hungry(core)                                    assign(now)
    parent_beside(cores)                            -
    core_lost(core, running)                        end these tickets as lost, then assign(now)
    killed(ticket)                                  -
    stranded(gone)                                  end these tickets as failed
    (time passes)                                   overdue(now): take back what these cores hold

Where tokens wait is the gate's affair, where they are held the ledger's, and the router moves them
from the one to the other. Here is what each fact means to all three.

*Recall.* What was sent to a core can turn out to lie behind a token that takes much longer than
the others. So when a core is idle and nothing waits, cores that have been slow for `RECALL_NS` are
asked to give back what they have not begun. A core is asked again only after it was sent or
answered something; one that did give tokens back is *stuck*, and gets none until it has finished
one or says that it has threads free. So no token travels to and fro.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import attrgetter
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.options import Routing, Weight
from tokengate_mp.scheduling.gate import Gate
from tokengate_mp.scheduling.ledger import Book, Ledger
from tokengate_mp.scheduling.operation import Operation
from tokengate_mp.scheduling.routing import Router
from tokengate_mp.scheduling.snapshot import Snapshot, TicketStory, snapshot, story
from tokengate_mp.scheduling.ticket import Ticket
from tokengate_mp.scheduling.weights import ALL_CORES, Cores, as_set, members

RECALL_NS: Final = 16_000_000
"""How long a token may lie behind another one, ns, before an idle core may have it.

More than a window: a core that is merely working through what it was sent is done with it before.
"""

_NOBODY: Final = frozenset[int]()
_operation: Callable[[Ticket], Operation] = attrgetter("operation")

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED
COMPLETED, FAILED, KILLED = TokenState.COMPLETED, TokenState.FAILED, TokenState.KILLED


class Scheduler:
    """Admission, routing and accounting for a fixed number of cores.

    Args:
        cores: How many core domains there are.
        threads: Crew threads of each.
        routing: "strict" keeps every class to its range; "work_conserving" lets a core with
            nothing of its own to do borrow.
    """

    def __init__(self, cores: int, threads: int, routing: Routing) -> None:
        self.cores = cores
        self.threads = threads
        self.routing = routing
        self._operations: dict[tuple[str, Weight], Operation] = {}
        self._all: Cores = as_set(range(1, cores + 1))
        self._gate = Gate()
        self._ledger = Ledger(cores, threads)
        self._router = Router(self._gate, self._ledger, routing)

    # ---- facts

    def operation(self, name: str, weight: Weight) -> Operation:
        """The operation of that name, as far as it is called with that weight."""
        key = name, weight
        known = self._operations.get(key)
        if known is None:
            known = self._operations[key] = Operation(name, weight, self.threads)
        return known

    def submitted(self, tickets: Sequence[Ticket]) -> None:
        """New tokens, in the order of their calls; those killed on the way here stay ended."""
        self._ledger.submitted += self._gate.enter(tickets)

    def core_ready(self, core: int) -> None:
        """A process of this core can take tokens."""
        self._ledger.enrol(self._ledger[core])

    def settle(  # noqa: PLR0913 - the two rare kinds of outcome cost nothing as sets
        self,
        core: int,
        numbers: Sequence[int],
        durations: Sequence[int],
        now: int,
        *,
        failed: Collection[int] = _NOBODY,
        blocked: Collection[int] = _NOBODY,
    ) -> list[Ticket]:
        """Outcomes of a core have arrived.

        Args:
            core: The core.
            numbers: Whose outcomes they are.
            durations: How long each of them ran, ns, in the same order.
            now: The time.
            failed: Which of them raised.
            blocked: Which of them spent most of their time off the CPU.

        Returns:
            Their tickets in the same order, now COMPLETED or FAILED; those that had been ended
            before stay as they were.

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
            self._sort(tickets, durations, failed, blocked)
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
        self._gate.reenter(ticket for ticket in tickets if ticket.stage is ADMITTED)

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
        self._gate.reenter(ticket for ticket in tickets if ticket.stage is ADMITTED)

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

    def core_lost(self, core: int, running: Collection[int]) -> list[Ticket]:
        """The process of this core is gone, and all outcomes it left behind are settled.

        Args:
            core: The core.
            running: The tokens that its crew was running.

        Returns:
            Those of them that had not ended, now FAILED. What it held besides waits again.
        """
        tickets = self._ledger.strike_off(self._ledger[core])
        unended = [ticket for ticket in tickets if ticket.stage is ADMITTED]
        lost = [ticket for ticket in unended if ticket.number in running]
        self._fail(lost)
        self._gate.reenter(ticket for ticket in unended if ticket.stage is ADMITTED)
        return lost

    def killed(self, ticket: Ticket) -> bool:
        """A token was ended on request; False if it had ended already.

        It may be one that was not submitted yet.
        """
        before = ticket.stage
        if before.ended:
            return False
        ticket.stage = KILLED
        if before is WAITING:
            self._gate.discard(ticket)
        elif before is TokenState.CREATED:
            self._ledger.submitted += 1  # it counts as known from here on
        ticket.operation.killed += 1
        self._ledger.ended[KILLED] += 1
        return True

    def stranded(self, gone: Cores = ALL_CORES) -> list[Ticket]:
        """Waiting tokens that may run on no other core than those of `gone`, now FAILED.

        Args:
            gone: Cores that will never be ready again, as a set of bits.
        """
        reach = self._router.reach.items()
        tickets = self._gate.empty(
            weight for weight, cores in reach if not cores & self._all & ~gone
        )
        self._fail(tickets)
        return tickets

    # ---- orders

    def assign(self, now: int) -> dict[int, list[Ticket]]:
        """Which waiting tokens to send where, at this time; they are ADMITTED with this."""
        return self._router.assign(now)

    def overdue(self, now: int) -> list[int]:
        """Cores to ask for what they have not begun, because another core has nothing to do."""
        due = [book.core for book in self._recallable() if now - book.overdue_since() >= RECALL_NS]
        for core in due:
            self._ledger.recallable &= ~(1 << core)
        return due

    def could_recall(self) -> bool:
        """Whether `overdue` will have an answer, now or later, if nothing else happens."""
        return any(True for _ in self._recallable())

    # ---- views

    @property
    def waiting(self) -> int:
        """How many tokens wait."""
        return len(self._gate)

    @property
    def has_waiting(self) -> bool:
        """Whether any waits, or has ended while it did and is still in its lane."""
        return any(lane.queue for lane in self._gate.lanes.values())

    @property
    def has_room(self) -> bool:
        """Whether a core could take more."""
        return bool(self._ledger.open)

    def held(self, core: int) -> int:
        """How many tokens a core was sent and has not answered for."""
        return len(self._ledger[core].held)

    @property
    def unended_count(self) -> int:
        """How many of the submitted tokens have not ended."""
        return self._ledger.submitted - self._ledger.ended.total()

    def unended(self) -> list[Ticket]:
        """All submitted tokens that have not ended, oldest first."""
        return sorted([*self._gate, *self._ledger], key=attrgetter("number"))

    def snapshot(self) -> Snapshot:
        """A frozen copy of all counts."""
        return snapshot(self._gate, self._ledger, self._operations.values())

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
        unended = self.unended()
        assert len(unended) == self.unended_count, f"{len(unended)} tokens have not ended"
        assert len({ticket.number for ticket in unended}) == len(unended), "one is in two places"

    # ---- what stands behind

    def _recallable(self) -> Iterator[Book]:
        """Cores with more than they can be running, in part for a core that has nothing to do."""
        ledger = self._ledger
        if ledger.recallable and (starving := self._router.starving()):
            for core in members(ledger.recallable):
                book = ledger[core]
                if book.reach & starving:
                    yield book

    def _sort(
        self,
        tickets: Sequence[Ticket],
        durations: Sequence[int],
        failed: Collection[int],
        blocked: Collection[int],
    ) -> None:
        """Let each operation observe its own of these outcomes."""
        if failed:
            raised = [t for t in tickets if t.stage is COMPLETED and t.number in failed]
            self._ledger.ended[COMPLETED] -= len(raised)
            self._fail(raised)
        for ticket in tickets:
            if ticket.stage is COMPLETED:
                ticket.operation.completed += 1
        runs: defaultdict[Operation, list[int]] = defaultdict(list)
        for ticket, duration in zip(tickets, durations, strict=True):
            runs[ticket.operation].append(duration)
        waited = Counter(t.operation for t in tickets if t.number in blocked) if blocked else {}
        for operation, own in runs.items():
            operation.observe(own, blocking=waited.get(operation, 0) * 2 > len(own))

    def _fail(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            ticket.stage = FAILED
            ticket.operation.failed += 1
        self._ledger.ended[FAILED] += len(tickets)
