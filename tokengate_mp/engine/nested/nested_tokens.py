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

from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final, cast, get_args
from weakref import WeakKeyDictionary, WeakValueDictionary

from tokengate_mp.config.options import Weight
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.nested.orphans import Orphans
from tokengate_mp.engine.nested.waits import Waits
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.engine.outbound.functions import Functions
from tokengate_mp.engine.outbound.pending_calls import PendingCalls
from tokengate_mp.engine.peers import Peer, Peers
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
from tokengate_mp.wire.protocol.pending_call import PendingCall, PlaceholderCall, received_call
from tokengate_mp.wire.protocol.records import (
    BEGUN,
    CALL,
    CARRY,
    CHAINED,
    CLAIM,
    DROP,
    ENROL,
    KILL,
    LINK,
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
        peers: The peer on each seat.
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
        peers: Peers,
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
        self._peers = peers
        self._kill = kill
        self._known: WeakValueDictionary[int, NestedToken] = WeakValueDictionary()
        # (Not by number: what a claimed token waits behind is asked for too, and never claimed.)
        self._asked: WeakKeyDictionary[Token[Any], int] = WeakKeyDictionary()
        self._hinted: dict[int, Peer] = {}
        self.claims: dict[int, tuple[NestedToken, Peer]] = {}
        self.granted: dict[int, tuple[NestedToken, Peer]] = {}
        self.restless = False
        self.referring = False
        self._turns = 0
        self._waits = Waits(scheduler, peers, self._ask)
        self.orphans = Orphans(
            scheduler, peers, self._waits, self._known, pending_calls.needed, kill
        )
        self._told: dict[int, Callable[[Peer, Outcome], None]] = {
            CALL: self._called,
            CLAIM: self._claimed,
            ENROL: self._enrolled,
            DROP: self._dropped,
            BEGUN: self._begun,
            CARRY: self._carried,
            WANT: self._wanted,
            KILL: self._killed,
            LINK: self._linked,
        }

    # ---- what a core process says

    def announced(self, peer: Peer, record: Outcome) -> None:
        """A core process said something of tokens that were made inside tokens.

        Raises:
            WireError: It makes no sense.
        """
        tell = self._told.get(record.kind)
        if tell is None:
            raise WireError(f"there is no outcome of kind {record.kind}")
        try:
            tell(peer, record)
        except (KeyError, TypeError, ValueError, PayloadError) as error:
            raise WireError(
                f"core {peer.core} speaks of something unknown: {error!r} in {record!r}"
            ) from error

    def _enrolled(self, peer: Peer, record: Outcome) -> None:
        enrolment = decode_enrolment(record.value)
        try:
            policy = loads(enrolment.policy)
        except Exception as error:
            raise WireError(f"an enrolment without a policy: {error}") from error
        if enrolment.weight not in get_args(Weight):
            raise WireError(f"an enrolment of no weight class: {enrolment.weight!r}")
        self._functions.adopt(enrolment.function, enrolment.definition)
        name = enrolment.operation_type
        operations = self._scheduler.operations
        # It cannot be refused: the calls are made already.
        peer.enrolled[record.number] = operations.declare(
            name, cast("Weight", enrolment.weight), operations.agreed_policy(name, policy)
        )

    def _called(self, peer: Peer, record: Outcome) -> None:
        if isinstance(record.value, bytes):
            token = self._made(peer, record, record.value, None)
            self._scheduler.submitted([token])
        else:
            pending_call = self._pending_call(record.number, record.value)
            token = self._made(peer, record, pending_call, None)
            self._pending_calls.enter(token, pending_call)
        if token.operation.breaker is not None:
            self._breaker_guard.made_inside(token)

    def _pending_call(self, number: int, travelled: Any) -> PendingCall:
        return received_call(number, travelled, self._known.__getitem__)

    def _linked(self, peer: Peer, record: Outcome) -> None:
        lead, seed, request, begun = record.value
        if isinstance(request, list):
            pending_call = self._pending_call(record.number, request)
            if not isinstance(pending_call, PlaceholderCall):
                raise TypeError("a call of a chain that needs nothing is a record")
            pending_call.chain = lead, seed
            token = self._made(peer, record, pending_call, seed)
            self._scheduler.relations.enlisted(token.number, lead, peer.core)
            self._pending_calls.enter(token, pending_call)
            return
        # Should its core die before it has begun, it is sent to the next process as it is here.
        if request:
            request = encode((record.number, CHAINED, encode((lead, seed, request))))
        token = self._made(peer, record, request, seed)
        self._scheduler.relations.joined(token, lead, peer.seat, monotonic_ns())
        if begun is not None:
            self._run_on_top(peer, record.number, begun)

    def _made(
        self,
        peer: Peer,
        record: Outcome,
        request: bytes | PendingCall,
        seed: str | None,
    ) -> NestedToken:
        operation = peer.enrolled[record.finished]
        token = nested_token(self._callbacks, record.number, operation, request, record.started)
        self._admission.enter(request)  # counted, and never refused: nobody here could wait
        token.chain = seed
        token.keepers.append(peer)
        self._known[token.number] = token
        peer.kept[token.number] = token
        return token

    def _claimed(self, peer: Peer, record: Outcome) -> None:
        token = peer.kept.get(record.number)
        if token is not None and not token.stage.ended:
            self.granted.pop(token.number, None)
            self.claims[token.number] = token, peer
            self._waits.note(record.started, peer.core, token)
            self.orphans.waits_late(peer, record.started)

    def _begun(self, peer: Peer, record: Outcome) -> None:
        self._run_on_top(peer, record.number, record.started)

    def _run_on_top(self, peer: Peer, number: int, below: int) -> None:
        """A thread that waits for a token has begun it, perhaps without claiming it first."""
        peer.begin_on_top(number, below)
        self.orphans.waits_late(peer, below)

    def _dropped(self, peer: Peer, record: Outcome) -> None:
        again = peer.kept_again
        for number in record.value:
            if again and number in again:
                again[number] -= 1
                if not again[number]:
                    del again[number]
                continue
            token = peer.kept.pop(number, None)
            if token is None:
                continue
            token.keepers.remove(peer)
            if record.started:
                self.orphans.dropped(token)

    def _wanted(self, peer: Peer, record: Outcome) -> None:
        number = record.number
        # (Only where a reference has travelled past this process, in bytes that a user's own code
        # has pickled, is the token not known. It is from now on: the core may pass it on.)
        token = self._known.get(number) or lost_token(self._callbacks, number, str(record.value))
        self._known[number] = token
        if number in peer.kept:
            # It was dropped there meanwhile, by another thread, and that is heard later than this.
            peer.kept_again[number] += 1
        else:
            peer.kept[number] = token
            token.keepers.append(peer)
        token.wanted = True
        token.tell(peer)

    def _carried(self, peer: Peer, record: Outcome) -> None:
        carried = [self._known[number] for number in record.value]
        for token in carried:
            token.passed_on = True
        peer.carried.setdefault(record.number, []).extend(carried)
        self.referring = True

    def _killed(self, peer: Peer, record: Outcome) -> None:
        token = peer.kept.get(record.number)
        if token is not None:
            self._kill(token, record.value)

    def process_gone(self, peer: Peer) -> None:
        """Drop everything that referred to tokens in a process which has ended."""
        peer.gone = True
        for token in peer.kept.values():
            token.keepers.remove(peer)
        peer.kept.clear()
        peer.kept_again.clear()
        peer.carried.clear()
        for number, (_token, claimant) in [*self.claims.items(), *self.granted.items()]:
            if claimant is peer:
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
        waiting = as_set(core for core, each in self._peers.items() if each.waits())
        stalled = self._waits.stalled
        for number, (token, claimant) in list(self.claims.items()):
            if self._scheduler.claimed(token, claimant.seat, waiting, now, stalled):
                record = self._pending_calls.record(token)
                claimant.link.send([token], [record], attached=True)
                self.granted[number] = self.claims.pop(number)
            elif token.needs and self._hinted.get(number) is not claimant:
                self._hint(token, claimant)
            elif token.stage is TokenState.ADMITTED:
                holder = self._holder(token)
                if holder is not None and holder is not claimant and holder.waits():
                    self._ask(token, holder)
        if len(self._peers) > 1:
            self._spare_those_that_wait()

    def _spare_those_that_wait(self) -> None:
        """Send no more to processes of which every thread waits: others can begin it."""
        for seat, peer in self._peers.items():
            if peer.waits():
                self._scheduler.all_threads_wait(seat)

    def _hint(self, token: NestedToken, claimant: Peer) -> None:
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

    def _holder(self, token: Ticket) -> Peer | None:
        """The process that was sent a token."""
        return self._peers.get(self._scheduler.accounts.seat_of(token))

    def _ask(self, token: Token[Any], holder: Peer) -> None:
        """Have a core give back what it has not begun: once for each time that it got the token."""
        if self._asked.get(token) != token.admitted:
            self._asked[token] = token.admitted
            if not holder.runs(token.number):
                holder.link.recall()

    # ---- tokens in results

    def show(self, number: int, _operation_type: str = "") -> Token[Any]:
        """A token that was found in a result.

        Raises:
            KeyError: It is not known here.
        """
        token = self._known[number]
        token.show()
        return token
