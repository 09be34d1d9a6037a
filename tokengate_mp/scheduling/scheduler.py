"""The scheduler: facts in, orders out.

It decides which waiting token goes to which core, and when, and performs nothing. Only the engine's
thread calls it. (Other threads, in which calls are made, have a door of their own: `operations`;
and observers in any thread may `glance`.)
Time comes in as an argument, in ns of any one monotonic clock.

    facts                                           orders that follow
    expected(operation, duration)                   -
    submitted(tickets)                              assign(now): core → tickets to send there
    anchored(calls, now)                            assign(now)
    call_refused(ticket)                            take_blocked()
    core_ready(core)                                assign(now)
    core_suspended(core), core_resumed(core)        assign(now)
    settle(core, numbers, durations, now)           end these tickets, then assign(now)
    given_back(core, numbers)                       assign(now)
    dropped(core, numbers)                          assign(now)
    hungry(core, running)                           assign(now)
    claimed(ticket, core, waiting, now)             send it there
    all_threads_wait(core)                          -
    parent_busy(cores, lasted)                      -
    core_lost(core, running, now)                   end these tickets as lost, then assign(now)
    stranded(gone)                                  end these tickets as failed
    killed(ticket)                                  -
    tick(now)                                       end these tickets as timed out, then assign(now)
    pause_admission(), resume_admission()           assign(now)
    pause(operation), resume(operation)             assign(now)
    (a failure opens a breaker)                     take_blocked(): end these tickets as blocked
    (time passes)                                   overdue(now): take back what these cores hold

    facts of `relations`
    withheld(ticket, dependencies)                  -
    supplied(ticket)                                -
    released(ticket, key, keep, now, home)          assign(now)
    failed(ticket)                                  -
    joined(ticket, lead, core, now)                 -
    enlisted(number, lead, core)                    -
    (a token ends that others depend on)            take_ended(): supply or end its dependents

    facts of `handover`
    begin_process(core, quota)                      -
    relieve(core)                                   assign(now), once the next process is ready
    end_draining(seat)                              -

Waiting tokens are at the gate, held ones in the ledger; `assignment` moves them from the one to the
other, and `endings` says how they leave. `accounts` finds them: to ask there changes nothing. In
facts, a process that was relieved is a core of its own: its *seat* (see `handover`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Final

from tokengate_mp.config.settings import Routing
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.accounts import Accounts
from tokengate_mp.scheduling.assignment import Assignment
from tokengate_mp.scheduling.cores.handover import Handover
from tokengate_mp.scheduling.cores.ledger import Ledger, release_limits
from tokengate_mp.scheduling.cores.recall import Recall
from tokengate_mp.scheduling.cores.routing import Router
from tokengate_mp.scheduling.endings import Endings
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import ALL_CORES, Cores, as_set
from tokengate_mp.scheduling.nested.conductor import Conductor, leads_chain
from tokengate_mp.scheduling.operations import OperationRegistry
from tokengate_mp.scheduling.policy.deadlines import Deadlines
from tokengate_mp.scheduling.policy.retry import Retries
from tokengate_mp.scheduling.relations import Relations
from tokengate_mp.scheduling.snapshot import Snapshot, take_snapshot
from tokengate_mp.scheduling.waiting.dependencies import Dependencies
from tokengate_mp.scheduling.waiting.gate import Gate

_NOBODY: Final = frozenset[int]()
_NONE: Final[Mapping[int, BaseException]] = MappingProxyType({})
_operation: Callable[[Ticket], Operation] = attrgetter("operation")

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED
COMPLETED = TokenState.COMPLETED


class Scheduler:
    """Admission, routing and accounting for a fixed number of cores.

    Args:
        cores: How many cores there are.
        threads: Crew threads of each.
        routing: "strict" keeps every class to its range; "work_conserving" lets a core with
            nothing of its own to do borrow.
        poison_limit: A token that has ended so many core processes is not run again.
        operations: The registry that callers use; None: one for this thread alone.

    Attributes:
        cores: As above.
        operations: The operations, which other threads may declare and ask.
        relations: Takes the facts about tokens that depend on others, or were made in a chain.
        handover: Takes the facts about processes that take over from each other.
        accounts: Finds tokens.
    """

    def __init__(
        self,
        cores: int,
        threads: int,
        routing: Routing,
        poison_limit: int = 2,
        operations: OperationRegistry | None = None,
    ) -> None:
        self.cores = cores
        self.operations = OperationRegistry(threads) if operations is None else operations
        self._all: Cores = as_set(range(1, cores + 1))
        self._breakers = self.operations.breakers
        self._gate = gate = Gate()
        self._ledger = ledger = Ledger(cores, threads)
        dependencies = Dependencies()
        self._deadlines = deadlines = Deadlines()
        self._retries = retries = Retries(poison_limit)
        self._conductor = conductor = Conductor()
        self._router = router = Router(gate, ledger, routing)
        self._recall = Recall(ledger, router)
        self._endings = endings = Endings(
            gate, ledger, conductor, dependencies, retries, self._breakers
        )
        self._assignment = assignment = Assignment(gate, ledger, router, conductor, self.operations)
        self.handover = Handover(ledger, self._withdraw_unsent)
        self.relations = Relations(
            gate, ledger, assignment, conductor, dependencies, deadlines, endings
        )
        self.accounts = Accounts(gate, ledger, self.handover, conductor, dependencies)

    # ---- facts about calls

    def expected(self, operation: Operation, duration: int) -> None:
        """Charge the tokens of an operation that come from now on as if each ran so long, ns."""
        operation.expect(duration)

    def submitted(self, tickets: Sequence[Ticket]) -> None:
        """Take in new tokens, in the order of their calls; such as were killed stay ended."""
        operations = self.operations
        self._ledger.submitted += self._gate.enter_new(tickets, limited=operations.any_limited)
        if operations.any_timed:
            self._deadlines.add_deadlines_of(tickets)
        if operations.any_leading:
            for ticket in tickets:
                if ticket.stage is WAITING and leads_chain(ticket):
                    self._conductor.open_chain(ticket.number)

    def anchored(self, calls: Collection[tuple[Ticket, bytes, int]], now: int) -> None:
        """Take in new tokens that go where others of the same key are.

        Args:
            calls: Each token, its key, and for how long that stays pinned after its last token, ns.
            now: The time.
        """
        self._gate.sticky.expire_pins(now)
        self._ledger.submitted += self._gate.enter_anchored(calls)
        if self.operations.any_timed:
            self._deadlines.add_deadlines_of([ticket for ticket, _, _ in calls])

    def call_refused(self, ticket: Ticket) -> None:
        """Let a token be ended that waits, and whose breaker did not admit the call.

        The call was made inside another token, and so is known only now.
        """
        if ticket.operation.breaker is not None:
            self._breakers.refuse_waiting(ticket.operation.breaker)

    # ---- facts about cores

    def core_ready(self, core: int) -> None:
        """Send tokens to a core from now on: its process can take some."""
        self._endings.core_ready_again(core)
        self._ledger.open_book(self._ledger[core])

    def core_suspended(self, core: int) -> None:
        """Send a core nothing for now; held tokens stay with the core."""
        self._ledger.close_book(self._ledger[core])

    def core_resumed(self, core: int) -> None:
        """Send tokens again to a core that was suspended."""
        book = self._ledger[core]
        if book.ready and book.quota > 0:
            self._ledger.open_book(book)

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
        """Take in outcomes of a core.

        Args:
            core: The core.
            numbers: Whose outcomes they are.
            durations: How long each of them ran, ns, in the same order.
            now: The time.
            failed: The errors of those that raised, by number.
            blocked: The numbers of those that spent most of their time off the CPU.

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
        self._ledger.update_room(book)
        self._ledger.ended[COMPLETED] += ended
        # Most batches are of one operation, and then there is nothing to sort.
        operations = set(map(_operation, tickets))
        if self.operations.any_limited:
            release_limits(tickets)
        if len(operations) == 1 and not failed and not blocked:
            operation = operations.pop()
            operation.completed += ended
            operation.observe(durations, blocking=False)
        else:
            self._endings.sort_outcomes(tickets, durations, failed, blocked, now)
        if self._retries.trials or self._breakers.by_name:
            self._endings.count_completed(tickets, now)
        self._endings.forget_ended(tickets)
        return tickets

    def given_back(self, core: int, numbers: Sequence[int]) -> None:
        """Let tokens wait again that a core had not begun, and gave back.

        Raises:
            KeyError: The core does not hold one of them. Nothing has changed then.
        """
        book = self._ledger[core]
        tickets = book.take_back(numbers)
        book.stuck = True
        self._ledger.update_room(book)
        self._endings.reenter_unbegun(tickets, given_back=True)

    def dropped(self, core: int, numbers: Sequence[int]) -> None:
        """Take tokens off a core that had been ended here, and were interrupted or never begun.

        Raises:
            KeyError: The core does not hold one of them. Nothing has changed then.
        """
        book = self._ledger[core]
        tickets = book.take_back(numbers)
        book.answered += len(tickets)
        book.stuck = False
        self._ledger.update_room(book)
        self._endings.reenter_unbegun(tickets, given_back=True)

    def parent_busy(self, cores: Cores, lasted: int) -> None:
        """Spare the cores beside the parent, which is busy making calls.

        Args:
            cores: The cores on whose CPU it is, as a set of bits; 0 if it is about to sleep.
            lasted: For how long it has been, ns; likewise.
        """
        self._ledger.beside, self._ledger.away = cores, lasted

    def hungry(self, core: int, running: Iterable[int] = ()) -> None:
        """Send a core more, which has threads free, while every running token is blocked.

        Args:
            core: The core.
            running: Those tokens. Until they end, others that compute have the whole window.
        """
        self._ledger.offer_more(self._ledger[core], running)

    def claimed(
        self,
        ticket: Ticket,
        core: int,
        waiting: Cores,
        now: int,
        stalled: Callable[[Ticket], bool],
    ) -> bool:
        """Place a token with a core of which a thread waits for that token, to run there.

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
        return self._assignment.claim(ticket, core, waiting, now, stalled)

    def all_threads_wait(self, core: int) -> None:
        """Send a core no more before the next answer: each thread waits for a token."""
        if self._ledger[core].held:
            self._ledger.open &= ~(1 << core)

    def core_lost(self, core: int, running: Mapping[int, BaseException], now: int) -> list[Ticket]:
        """Take everything off a core whose process is gone, and whose outcomes are all settled.

        Args:
            core: The core.
            running: The tokens that its crew was running, and the error of each.
            now: The time.

        Returns:
            Those of them that had not ended and are not to be run again, now FAILED. All others
            that it held wait again.
        """
        tickets = self._ledger.strike_off(self._ledger[core])
        self._assignment.homeward.take_core(core)
        unended = [ticket for ticket in tickets if ticket.stage is ADMITTED]
        errors = [(t, running[t.number]) for t in unended if t.number in running]
        again = self._endings.run_again
        lost = [t for t, error in errors if not again(t, error, now, lost=True)]
        self._endings.fail_tokens(lost, now)
        self._endings.reenter_unbegun(unended, given_back=False)
        return lost

    def _withdraw_unsent(self, core: int) -> None:
        """Let tokens wait again that were placed with a core, and not sent there yet."""
        tickets = self._assignment.take_back_unsent(core)
        self._endings.reenter_unbegun(tickets, given_back=True)

    def stranded(self, gone: Cores = ALL_CORES) -> list[Ticket]:
        """End the waiting tokens as FAILED that may run on no core outside of `gone`.

        Args:
            gone: Cores that will never be ready again, as a set of bits.
        """
        gone &= self._all
        return self._endings.fail_stranded(gone, self._all & ~gone, self._router.reach)

    # ---- facts from users, and from the clock

    def killed(self, ticket: Ticket) -> bool:
        """End a token as KILLED, submitted or not; False if already ended."""
        if ticket.stage.ended:
            return False
        self._endings.end_early(ticket, TokenState.KILLED)
        ticket.operation.killed += 1
        return True

    def pause_admission(self) -> None:
        """Assign no token until `resume_admission`."""
        self._assignment.paused = True

    def resume_admission(self) -> None:
        """Assign tokens again."""
        self._assignment.paused = False

    def pause(self, operation: str) -> None:
        """Assign no token of an operation until `resume`."""
        self._gate.pause(operation)

    def resume(self, operation: str) -> None:
        """Assign the tokens of an operation again."""
        self._gate.resume(operation)

    def tick(self, now: int) -> list[Ticket]:
        """End the tokens as TIMEOUT whose time is up at `now`.

        Tokens whose pause before another run is over can be assigned again.
        """
        self._endings.resume_postponed(now)
        overdue = self._deadlines.take_overdue(now)
        for ticket in overdue:
            self._endings.end_early(ticket, TokenState.TIMEOUT, now)
            ticket.operation.timeout += 1
        return overdue

    # ---- orders

    def assign(self, now: int) -> dict[int, list[Ticket]]:
        """Send waiting tokens: the tickets for each core, now ADMITTED."""
        return self._assignment.assign(now)

    def take_blocked(self) -> list[Ticket]:
        """End the waiting tokens as FAILED whose breaker has opened."""
        if not self._breakers.opened:
            return []
        return self._endings.fail_blocked(self.accounts.waiting_tickets())

    def next_tick(self) -> int | None:
        """When `tick` will have something to do, ns; None if never."""
        if self._deadlines or self._gate.postponed:
            times = (self._deadlines.next_deadline(), self._gate.postponed.next_due())
            return min((at for at in times if at is not None), default=None)
        return None

    def overdue(self, now: int) -> list[int]:
        """Cores to ask for unbegun tokens, because another core has nothing to do."""
        return self._recall.overdue_cores(now)

    def could_recall(self) -> bool:
        """Whether `overdue` will have an answer, now or later, if nothing else happens."""
        return self._recall.is_possible()

    # ---- views

    def snapshot(self, now: int | None = None) -> Snapshot:
        """A frozen copy of all counts at `now`; None: as of the last time that was told."""
        if now is not None:
            self._gate.sticky.expire_pins(now)
        return self.glance(now or 0)

    def glance(self, now: int) -> Snapshot:
        """A frozen copy of all counts, which changes nothing: the one call for any thread.

        Pins whose time is up, and that nobody has asked for since, are counted.
        """
        return take_snapshot(
            self._gate,
            self._ledger,
            self.operations.all_operations(),
            self._conductor,
            paused=self._assignment.paused,
            now=now,
        )

    def validate(self) -> None:
        """Check every invariant that must hold between two facts.

        Raises:
            AssertionError: One is broken.
        """
        self.accounts.validate(self.operations.all_limits())
        self._breakers.validate()
