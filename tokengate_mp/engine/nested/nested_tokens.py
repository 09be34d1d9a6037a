"""Calls that come from inside tokens: what core processes say of them, and what they are told.

A token that is made in a core process is known there under a number of that process's own, and here
as a `NestedToken`. It is kept as long as that process, or another that the reference has travelled
to, refers to it.

What follows from a thread that waits for a token, or from a token that was ended and had made or
awaited others, is decided in `scheduling.nested`: facts go there from here, and orders come back.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any, cast, get_args
from weakref import WeakValueDictionary

from tokengate_mp.config.options import Policy, Weight
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.engine.outbound.functions import Functions
from tokengate_mp.engine.outbound.pending_calls import PendingCalls
from tokengate_mp.engine.peers import Peer, Peers
from tokengate_mp.errors import PayloadError, WireError, summary, type_name
from tokengate_mp.loops.callbacks import CallbackQueue
from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.nested.claims import Claims
from tokengate_mp.scheduling.nested.orphans import Orphans
from tokengate_mp.scheduling.nested.waits import Waits
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.sigint import is_raised_by
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
    Enrolment,
    Outcome,
    decode_enrolment,
    encode,
)


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
        claims: Tokens that threads of core processes wait for.
        referring: Whether results have referred to tokens, so that requests may need some.
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
        self.referring = False
        accounts = scheduler.accounts
        waits = Waits(accounts, peers)
        self.claims = Claims(scheduler, accounts, peers, waits)
        self._orphans = Orphans(accounts, peers, waits, self._known.get, pending_calls.needed)
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
        policy, refusal = _policy_of(enrolment)
        if enrolment.weight not in get_args(Weight):
            raise WireError(f"an enrolment of no weight class: {enrolment.weight!r}")
        self._functions.adopt(enrolment.function, enrolment.definition)
        name = enrolment.operation_type
        operations = self._scheduler.operations
        # It cannot be refused: the calls are made already.
        peer.enrolled[record.number] = operations.declare(
            name, cast("Weight", enrolment.weight), operations.agreed_policy(name, policy)
        )
        if refusal:
            peer.refusals[record.number] = refusal

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
        self._refuse(peer, record, token)

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
            self._refuse(peer, record, token)
            return
        # Should its core die before it has begun, it is sent to the next process as it is here.
        if request:
            request = encode((record.number, CHAINED, encode((lead, seed, request))))
        token = self._made(peer, record, request, seed)
        self._scheduler.relations.joined(token, lead, peer.seat, monotonic_ns())
        if begun is not None:
            self._run_on_top(peer, record.number, begun)
        self._refuse(peer, record, token)

    def _refuse(self, peer: Peer, record: Outcome, token: NestedToken) -> None:
        """End a new token if the options of its call cannot be loaded here."""
        if peer.refusals and (refusal := peer.refusals.get(record.finished)):
            self._kill(token, refusal)

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
            self.claims.claim(token, peer, record.started)
            self._orphans.found_waiting(peer.seat, record.started)
            self._end_orphans()

    def _begun(self, peer: Peer, record: Outcome) -> None:
        self._run_on_top(peer, record.number, record.started)

    def _run_on_top(self, peer: Peer, number: int, below: int) -> None:
        """A thread that waits for a token has begun it, perhaps without claiming it first."""
        peer.begin_on_top(number, below)
        self._orphans.found_waiting(peer.seat, below)
        self._end_orphans()

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
            if record.started and not token.keepers:
                self._orphans.maker_ended(token)
        self._end_orphans()

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
        for token in peer.kept.values():
            token.keepers.remove(peer)
        peer.kept.clear()
        peer.kept_again.clear()
        peer.carried.clear()
        self.claims.withdraw_process(peer)

    # ---- what waiting threads and ended tokens ask for

    def grant(self) -> None:
        """Send claimed tokens to the cores that claim them, hint and recall (see `Claims`)."""
        orders = self.claims.grant(monotonic_ns())
        peers = self._peers
        for ticket, seat in orders.send:
            record = self._pending_calls.record(ticket)
            peers[seat].link.send([ticket], [record], attached=True)
        for seat, number, lacking in orders.hint:
            peers[seat].hint(number, [(each.number, each.operation.name) for each in lacking])
        for seat in orders.recall:
            peers[seat].link.recall()

    def recall_overdue(self) -> None:
        """Recall claimed tokens that have long lain in another core."""
        for seat in self.claims.overdue_recalls(monotonic_ns() - RECALL_NS):
            self._peers[seat].link.recall()

    def forsake(self, waiter: Ticket) -> None:
        """End the tokens that a token which was ended alone waits for, and nobody else can see."""
        self._orphans.waiter_ended(waiter)
        self._end_orphans()

    def _end_orphans(self) -> None:
        # (To kill one comes back here, and adds to what is iterated over.)
        for ticket, why in self._orphans.take_orphans():
            self._kill(cast("NestedToken", ticket), why)

    # ---- tokens in results

    def show(self, number: int, _operation_type: str = "") -> Token[Any]:
        """A token that was found in a result.

        Raises:
            KeyError: It is not known here.
        """
        token = self._known[number]
        token.show()
        return token


def _policy_of(enrolment: Enrolment) -> tuple[Policy, str]:
    """The policy of calls that a core process makes, and why they are refused.

    To load the policy runs code of the user's: its `retry_on` names classes, whose modules are
    imported. If that fails here, calls of the function end, and nothing else does.

    Returns:
        The policy, and an empty text; or one without rules, and the reason.

    Raises:
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    try:
        policy = loads(enrolment.policy)
    except BaseException as error:
        if not is_raised_by(lambda: loads(enrolment.policy), error):
            raise
        reason = f"the options of {enrolment.operation_type!r} cannot be loaded in the parent"
        return Policy(), f"{reason}: {summary(error)}"
    if type(policy) is not Policy:
        raise WireError(f"an enrolment without a policy: {type_name(type(policy))}")
    return policy, ""
