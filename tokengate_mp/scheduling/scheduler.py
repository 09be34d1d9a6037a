"""The scheduler: facts in, orders out.

It decides which waiting token goes to which core, and when, and performs nothing. One thread at a
time may call it. Time comes in as an argument, in ns of any one monotonic clock.

    facts                                           orders that follow
    submitted(tickets)                              assign(now): core → tickets to send there
    anchored(calls, now)                            assign(now)
    withheld(ticket, needs)                         -
    released(ticket, key, keep, now, home)          assign(now)
    joined(ticket, lead, core, now)                 -
    core_ready(core)                                assign(now)
    settle(core, numbers, durations, now)           end these tickets, then assign(now)
    given_back(core, numbers)                       assign(now)
    dropped(core, numbers)                          assign(now)
    hungry(core, running)                           assign(now)
    enlisted(number, lead, core)                    -
    claimed(ticket, core, waiting, now)             send it there
    waits(core)                                     -
    parent_busy(cores, lasted)                      -
    core_lost(core, running, now)                   end these tickets as lost, then assign(now)
    killed(ticket)                                  -
    tick(now)                                       end these tickets as timed out, then assign(now)
    paused, pause(operation), resume(operation)     assign(now)
    stranded(gone)                                  end these tickets as failed
    (time passes)                                   overdue(now): take back what these cores hold

Where tokens wait is the gate's affair, where they are held the ledger's; the router moves them from
the one to the other. In facts, a process that was relieved is a core of its own (see `handover`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import ALL_CORES, Cores
from tokengate_mp.scheduling.relations import Relations, leads

_NOBODY: Final = frozenset[int]()
_NONE: Final[Mapping[int, BaseException]] = MappingProxyType({})
_operation: Callable[[Ticket], Operation] = attrgetter("operation")

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED
COMPLETED, FAILED = TokenState.COMPLETED, TokenState.FAILED
KILLED, TIMEOUT = TokenState.KILLED, TokenState.TIMEOUT


class Scheduler(Relations):
    """Admission, routing and accounting for a fixed number of cores (see `SchedulerState`)."""

    # ---- facts

    def submitted(self, tickets: Sequence[Ticket]) -> None:
        """New tokens, in the order of their calls; those killed on the way here stay ended."""
        self._ledger.submitted += self._gate.enter(tickets)
        if self._timed:
            self._time(tickets)
        if self._leading:
            for ticket in tickets:
                if ticket.stage is WAITING and leads(ticket):
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
        if self._gate.limits.by_name:
            self._gate.limits.left(tickets)
        if len(operations) == 1 and not failed and not blocked:
            operation = operations.pop()
            operation.completed += ended
            operation.observe(durations, blocking=False)
        else:
            self._sort(tickets, durations, failed, blocked, now)
        if self._retries.trials or self.breakers.by_name:
            self._completed(tickets, now)
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

    def parent_busy(self, cores: Cores, lasted: int) -> None:
        """The parent is busy making calls.

        Args:
            cores: The cores on whose CPU it is, as a set of bits; 0 if it is about to sleep.
            lasted: For how long it has been, ns; likewise.
        """
        self._ledger.beside, self._ledger.away = cores, lasted

    def hungry(self, core: int, running: Iterable[int] = ()) -> None:
        """A core has threads free, and every token it runs is blocked.

        Args:
            core: The core.
            running: Those tokens. Until they end, others that compute have the whole window.
        """
        book = self._ledger[core]
        if book.ready:
            book.note_blocked(running)
            book.floor = self.threads
            book.stuck = False
            self._ledger.open |= 0 if book.closed else book.bit

    def claimed(
        self,
        ticket: Ticket,
        core: int,
        waiting: Cores,
        now: int,
        stalled: Callable[[Ticket], bool],
    ) -> bool:
        """A thread of this core waits for a token, and would rather run it itself.

        Args:
            ticket: The token.
            core: The core.
            waiting: Cores of which every thread waits: what is pinned to one need not go there.
            now: The time.
            stalled: Whether a token for which a limit leaves no room would wait for ever.

        Returns:
            Whether it is to be sent there: it was waiting, and is ADMITTED now. It goes before all
            others, whatever its class and the core's window: that thread has nothing else to do.
        """
        book = self._ledger[core]
        if ticket.stage is not WAITING or self.paused or not book.ready:
            return False
        limit = ticket.operation.limit
        if limit is not None and limit.free <= 0 and not stalled(ticket):
            return False
        if ticket.number in self._conductor.held:
            return False  # it is on its way to its chain's core
        if not self._gate.take(ticket, book.core, waiting):
            return False  # its operation is paused, or it is not yet to run (again)
        self._router.place(ticket, book, now)
        self._conductor.landed(ticket.number, book.core)
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
        self._homeward.pop(core, None)
        unended = [ticket for ticket in tickets if ticket.stage is ADMITTED]
        errors = [(t, running[t.number]) for t in unended if t.number in running]
        lost = [t for t, error in errors if not self._run_again(t, error, now, lost=True)]
        self._fail(lost, now)
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
        for ticket in self._gate.postponed.take_due(now):
            if not self._conductor.hold(ticket):
                self._gate.interleave(ticket)
        overdue = self._deadlines.due(now)
        for ticket in overdue:
            self._end(ticket, TIMEOUT, now)
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
        if not (self.has_waiting or self._homeward):
            return {}
        sender = self._admission_of_limited if self._gate.limits.by_name else self._router
        orders = sender.assign(now)
        if self._homeward:
            homeward, self._homeward = self._homeward, {}
            for core, tickets in homeward.items():
                held = self._ledger[core].held
                sent = [ticket for ticket in tickets if ticket.number in held]
                orders[core] = sent + orders.get(core, [])
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
            for ticket, core in conductor.ready(self._ledger.ready, self._gate.paused):
                self._router.place(ticket, self._ledger[core], now)
                orders.setdefault(core, []).append(ticket)

    def next_tick(self) -> int | None:
        """When `tick` will have something to do, ns; None if never."""
        if self._deadlines or self._gate.postponed:
            times = (self._deadlines.next(), self._gate.postponed.next_due())
            return min((at for at in times if at is not None), default=None)
        return None

    def overdue(self, now: int) -> list[int]:
        """Cores to ask for what they have not begun, because another core has nothing to do."""
        return self._recall.overdue(now)

    def could_recall(self) -> bool:
        """Whether `overdue` will have an answer, now or later, if nothing else happens."""
        return self._recall.is_possible()
