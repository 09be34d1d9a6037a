"""Calls that come from inside tokens: what core processes say of them, and what they are told.

A token that is made in a core process is known there under a number of that process's own, and here
as an `NestedToken`. It is kept as long as that process, or another one that the reference has
travelled to, refers to it.

*Claims.* A thread that waits for a token had better run it itself than wait. So it claims it: as
long as the token waits here, it is sent to that core before all others, whatever its window, and
its weight class. A token that lies unbegun in another core, of which every thread waits as well, is
called back first. So of the tokens that are waited for, one can always go on, with however few
threads. (A limit on its operation holds it back nevertheless, as long as that can pass: see
`waits`.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any, Final, cast, get_args
from weakref import WeakKeyDictionary, WeakValueDictionary

from tokengate_mp.config.options import Weight
from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.leases import kept, let_go
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.breaker_guard import BreakerGuard
from tokengate_mp.engine.functions import Functions
from tokengate_mp.engine.nested.orphans import Orphans
from tokengate_mp.engine.nested.waits import Waits
from tokengate_mp.engine.pending_calls import PendingCalls
from tokengate_mp.errors import PayloadError, WireError
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.loops.callbacks import CallbackQueue
from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import as_set
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.nested import NestedToken, lost_token, nested_token
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.payload.codec import loads
from tokengate_mp.wire.protocol.pending_call import PendingCall, PlaceholderCall, landed
from tokengate_mp.wire.protocol.records import (
    BEGUN,
    BORROWED,
    CALL,
    CARRY,
    CHAINED,
    CLAIM,
    DROP,
    ENROL,
    KILL,
    LINK,
    RELEASED,
    WANT,
    Outcome,
    decode_enrolment,
    encode,
)

LOOKED_OVER: Final = 16
"""How many granted claims are looked over in a turn, on average."""


class NestedTokens:
    """The tokens that were made inside tokens.

    Args:
        callbacks: Where those of the tokens go.
        scheduler: Where the tokens go.
        functions: Where functions go that a core process has found.
        living: The process on each seat.
        admission: Counts what is pending.
        kill: Ends a token.
        breaker_guard: Ends calls of operations that take none.
        pending_calls: Where calls go that are more than a record.

    Attributes:
        claims: The tokens that a thread of a core process waits for, by number, and which process.
        granted: Those of them that were sent there.
        orphans: Those that only an ended token wanted.
        referring: Whether results have referred to tokens, so that requests may need some.
        restless: Set when a token waits again that had been sent to a core: one of these, perhaps.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a token passes on its way
        self,
        callbacks: CallbackQueue,
        scheduler: Scheduler,
        functions: Functions,
        living: Mapping[int, Incarnation],
        admission: Admission,
        kill: Callable[[Token[Any], str], object],
        breaker_guard: BreakerGuard,
        pending_calls: PendingCalls,
    ) -> None:
        self._breaker_guard = breaker_guard
        self._pending_calls = pending_calls
        self._admission = admission
        self._callbacks = callbacks
        self._scheduler = scheduler
        self._functions = functions
        self._living = living
        self._kill = kill
        self._known: WeakValueDictionary[int, NestedToken] = WeakValueDictionary()
        # (Not by number: what a claimed token waits behind is asked for too, and never claimed.)
        self._asked: WeakKeyDictionary[Token[Any], int] = WeakKeyDictionary()
        self._hinted: dict[int, Incarnation] = {}
        self.claims: dict[int, tuple[NestedToken, Incarnation]] = {}
        self.granted: dict[int, tuple[NestedToken, Incarnation]] = {}
        self.restless = False
        self.referring = False
        self._turns = 0
        self._waits = Waits(scheduler, living, self._ask)
        self.orphans = Orphans(
            scheduler, living, self._waits, self._known, pending_calls.needed, kill
        )
        self._told: dict[int, Callable[[Incarnation, Outcome], None]] = {
            CALL: self._called,
            CLAIM: self._claimed,
            ENROL: self._enrolled,
            DROP: self._dropped,
            BEGUN: self._begun,
            CARRY: self._carried,
            WANT: self._wanted,
            KILL: self._killed,
            LINK: self._linked,
            BORROWED: kept,
            RELEASED: let_go,
        }

    # ---- what a core process says

    def told(self, incarnation: Incarnation, record: Outcome) -> None:
        """A core process said something of tokens that were made inside tokens.

        Raises:
            WireError: It makes no sense.
        """
        tell = self._told.get(record.kind)
        if tell is None:
            raise WireError(f"there is no outcome of kind {record.kind}")
        try:
            tell(incarnation, record)
        except (KeyError, TypeError, ValueError, PayloadError) as error:
            raise WireError(
                f"core {incarnation.core} speaks of something unknown: {error!r} in {record!r}"
            ) from error

    def _enrolled(self, incarnation: Incarnation, record: Outcome) -> None:
        enrolment = decode_enrolment(record.value)
        try:
            policy = loads(enrolment.policy)
        except Exception as error:
            raise WireError(f"an enrolment without a policy: {error}") from error
        if enrolment.weight not in get_args(Weight):
            raise WireError(f"an enrolment of no weight class: {enrolment.weight!r}")
        self._functions.adopt(enrolment.function, enrolment.definition)
        name = enrolment.operation_type
        # It cannot be refused: the calls are made already.
        operations = self._scheduler.operations
        incarnation.enrolled[record.number] = operations.declare(
            name, cast("Weight", enrolment.weight), operations.agreed_policy(name, policy)
        )

    def _called(self, incarnation: Incarnation, record: Outcome) -> None:
        if isinstance(record.value, bytes):
            token = self._made(incarnation, record, record.value, None)
            self._scheduler.submitted([token])
        else:
            pending_call = self._pending_call(record.number, record.value)
            token = self._made(incarnation, record, pending_call, None)
            self._pending_calls.enter(token, pending_call)
        if token.operation.breaker is not None:
            self._breaker_guard.made_inside(token)

    def _pending_call(self, number: int, travelled: Any) -> PendingCall:
        return landed(number, travelled, self._known.__getitem__)

    def _linked(self, incarnation: Incarnation, record: Outcome) -> None:
        lead, seed, request, begun = record.value
        if isinstance(request, list):
            pending_call = self._pending_call(record.number, request)
            if not isinstance(pending_call, PlaceholderCall):
                raise TypeError("a call of a chain that needs nothing is a record")
            pending_call.chain = lead, seed
            token = self._made(incarnation, record, pending_call, seed)
            self._scheduler.relations.enlisted(token.number, lead, incarnation.core)
            self._pending_calls.enter(token, pending_call)
            return
        # Should its core die before it has begun, it is sent to the next process as it is here.
        if request:
            request = encode((record.number, CHAINED, encode((lead, seed, request))))
        token = self._made(incarnation, record, request, seed)
        self._scheduler.relations.joined(token, lead, incarnation.seat, monotonic_ns())
        if begun is not None:
            self._run_on_top(incarnation, record.number, begun)

    def _made(
        self,
        incarnation: Incarnation,
        record: Outcome,
        request: bytes | PendingCall,
        seed: str | None,
    ) -> NestedToken:
        operation = incarnation.enrolled[record.finished]
        token = nested_token(self._callbacks, record.number, operation, request, record.started)
        self._admission.enter(request)  # counted, and never refused: nobody here could wait
        token.chain = seed
        token.keepers.append(incarnation)
        self._known[token.number] = token
        incarnation.kept[token.number] = token
        return token

    def _claimed(self, incarnation: Incarnation, record: Outcome) -> None:
        token = incarnation.kept.get(record.number)
        if token is not None and not token.stage.ended:
            self.granted.pop(token.number, None)
            self.claims[token.number] = token, incarnation
            self._waits.note(record.started, incarnation.core, token)
            self.orphans.waits_late(incarnation, record.started)

    def _begun(self, incarnation: Incarnation, record: Outcome) -> None:
        self._run_on_top(incarnation, record.number, record.started)

    def _run_on_top(self, incarnation: Incarnation, number: int, below: int) -> None:
        """A thread that waits for a token has begun it, perhaps without claiming it first."""
        incarnation.begin(number, below)
        self.orphans.waits_late(incarnation, below)

    def _dropped(self, incarnation: Incarnation, record: Outcome) -> None:
        again = incarnation.kept_again
        for number in record.value:
            if again and number in again:
                again[number] -= 1
                if not again[number]:
                    del again[number]
                continue
            token = incarnation.kept.pop(number, None)
            if token is None:
                continue
            token.keepers.remove(incarnation)
            if record.started:
                self.orphans.dropped(token)

    def _wanted(self, incarnation: Incarnation, record: Outcome) -> None:
        number = record.number
        # (Only where a reference has travelled past this process, in bytes that a user's own code
        # has pickled, is the token not known. It is from now on: the core may pass it on.)
        token = self._known.get(number) or lost_token(self._callbacks, number, str(record.value))
        self._known[number] = token
        if number in incarnation.kept:
            # It was dropped there meanwhile, by another thread, and that is heard later than this.
            incarnation.kept_again[number] += 1
        else:
            incarnation.kept[number] = token
            token.keepers.append(incarnation)
        token.wanted = True
        token.tell(incarnation)

    def _carried(self, incarnation: Incarnation, record: Outcome) -> None:
        carried = [self._known[number] for number in record.value]
        for token in carried:
            token.passed_on = True
        incarnation.carried.setdefault(record.number, []).extend(carried)
        self.referring = True

    def _killed(self, incarnation: Incarnation, record: Outcome) -> None:
        token = incarnation.kept.get(record.number)
        if token is not None:
            self._kill(token, record.value)

    def gone(self, incarnation: Incarnation) -> None:
        """A core process has ended, and with it all that referred to tokens there."""
        incarnation.gone = True
        for token in incarnation.kept.values():
            token.keepers.remove(incarnation)
        incarnation.kept.clear()
        incarnation.kept_again.clear()
        incarnation.carried.clear()
        for number, (_token, claimant) in [*self.claims.items(), *self.granted.items()]:
            if claimant is incarnation:
                self._unclaim(number)
        self.restless = True

    # ---- claims

    def grant(self) -> None:
        """Send tokens that are claimed to the cores that claim them, as far as they wait here."""
        now = monotonic_ns()
        if self.granted:
            self._look_over()
        # First of all: who waits for these goes on.
        for number in [n for n, (token, _) in self.claims.items() if token.stage.ended]:
            self._unclaim(number)
        waiting = as_set(core for core, each in self._living.items() if each.waits())
        stalled = self._waits.stalled
        for number, (token, claimant) in list(self.claims.items()):
            if self._scheduler.claimed(token, claimant.seat, waiting, now, stalled):
                records = claimant.leases.unload([number], [self._pending_calls.record(token)])
                claimant.send([number], records)
                self.granted[number] = self.claims.pop(number)
            elif token.needs and self._hinted.get(number) is not claimant:
                self._hint(token, claimant)
            elif token.stage is TokenState.ADMITTED:
                holder = self._holder(token)
                if holder is not None and holder is not claimant and holder.waits():
                    self._ask(token, holder)
        if len(self._living) > 1:
            self._spare_those_that_wait()

    def _spare_those_that_wait(self) -> None:
        """Send no more to processes of which every thread waits: others can begin it."""
        for seat, incarnation in self._living.items():
            if incarnation.waits():
                self._scheduler.all_threads_wait(seat)

    def _hint(self, token: NestedToken, claimant: Incarnation) -> None:
        """Tell a process what the token needs that it waits for: it may run that first."""
        self._hinted[token.number] = claimant
        lacking = [need for need in token.needs if not need.stage.ended]
        claimant.hint(token.number, [(need.number, need.operation_type) for need in lacking])

    def _look_over(self) -> None:
        """Find out which granted claims are over, or to be granted again.

        Seldom: a deep recursion has thousands, of which hardly any has changed since.
        """
        self._turns += 1
        if not self.restless and self._turns * LOOKED_OVER < len(self.granted):
            return
        self._turns, self.restless = 0, False
        for number, (token, _) in list(self.granted.items()):
            if token.stage.ended:
                self._unclaim(number)
            elif token.stage is not TokenState.ADMITTED:
                self.claims[number] = self.granted.pop(number)

    def recall_overdue(self) -> None:
        """Call back tokens that are claimed, and have long lain in another core."""
        due = monotonic_ns() - RECALL_NS
        for token, claimant in self.claims.values():
            if token.stage is TokenState.ADMITTED and token.admitted < due:
                holder = self._holder(token)
                if holder is not None and holder is not claimant:
                    self._ask(token, holder)

    def _unclaim(self, number: int) -> None:
        claimed = self.claims.pop(number, None) or self.granted.pop(number, None)
        if claimed is not None:
            self._asked.pop(claimed[0], None)
        self._hinted.pop(number, None)
        self._waits.ended(number)

    def _holder(self, token: Ticket) -> Incarnation | None:
        """The process that was sent a token."""
        return self._living.get(self._scheduler.accounts.seat_of(token))

    def _ask(self, token: Token[Any], holder: Incarnation) -> None:
        """Have a core give back what it has not begun: once for each time that it got the token."""
        if self._asked.get(token) != token.admitted:
            self._asked[token] = token.admitted
            if token.number not in holder.running():
                holder.recall()

    # ---- tokens in results

    def carried_by(self, incarnation: Incarnation, number: int) -> list[NestedToken]:
        """The tokens that an outcome of this process refers to; it has arrived."""
        return incarnation.carried.pop(number, [])

    def show(self, number: int, _operation_type: str = "") -> Token[Any]:
        """A token that was found in a result.

        Raises:
            KeyError: It is not known here.
        """
        token = self._known[number]
        token.show()
        return token
