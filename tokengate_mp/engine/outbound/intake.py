"""Where calls come in: from the coordinator's own thread, and from others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final

from tokengate_mp.config.options import TokenOptions
from tokengate_mp.engine.admission import COUNTED_BYTES, Admission
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.engine.outbound.functions import Functions
from tokengate_mp.engine.outbound.pending_calls import PendingCalls
from tokengate_mp.engine.turns import Turns
from tokengate_mp.errors import CoordinatorNotRunning, PayloadError
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.loops.callbacks import CallbackQueue
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.enrolled import Enrolled, Version
from tokengate_mp.tokens.forwarding import ForwardingToken, Recipient
from tokengate_mp.tokens.numbers import next_number
from tokengate_mp.tokens.token import Token
from tokengate_mp.tokens.visiting import VisitingToken
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.payload.attachments import AttachedRecord
from tokengate_mp.wire.protocol.pending_call import PendingCall

HUNGRY_CALLS: Final = 128
"""Calls of a burst between two turns while a core has room."""

SATED_CALLS: Final = 512
"""The same while all cores are busy: each turn then mostly finds out that they still are."""

_CREATED: Final = TokenState.CREATED


class Intake:
    """Takes in calls, and keeps the tokens until the next turn.

    Args:
        callbacks: Where those of tokens go; the coordinator's loop has them called.
        scheduler: What knows the operations.
        pending_calls: Who is told of calls that are more than a record.
        turns: Who is asked for turns.
        admission: How much may be pending.
        breaker_guard: Which operations take no calls.
        turn_within_call: Takes a turn in the middle of a call.
        withdraw: Ends a token whose outcome nobody wants; from any thread.

    Attributes:
        functions: The functions that were enrolled.
        closed: Set when no more calls are taken.
        loop: The coordinator's loop.
        cores: How many core domains there are.
        next_number: Gives the number of the next token.
        arena: Where large arguments go; None: with all others.
        expectations: How long tokens of operations will run, ns, as said with calls that came since
            the last turn.
    """

    next_number = staticmethod(next_number)

    def __init__(  # noqa: PLR0913, PLR0917 - all that a call passes on its way
        self,
        callbacks: CallbackQueue,
        scheduler: Scheduler,
        pending_calls: PendingCalls,
        turns: Turns,
        admission: Admission,
        breaker_guard: BreakerGuard,
        turn_within_call: Callable[[], object],
        withdraw: Callable[[ForwardingToken[Any]], object],
    ) -> None:
        self.functions = Functions()
        self.closed = False
        self.loop = self._loop = callbacks.loop
        self._callbacks = callbacks
        self.cores = scheduler.cores
        self._scheduler = scheduler
        self._operations = scheduler.operations
        self._turns = turns
        self._pending_calls = pending_calls
        self._admission = admission
        self._breaker_guard = breaker_guard
        self._turn_within_call = turn_within_call
        self._withdraw = withdraw
        self._inbox: list[Token[Any]] = []
        self._visitors: deque[Token[Any]] = deque()
        self.expectations: deque[tuple[Operation, int]] = deque()
        self._calls_left = 0
        self.arena: ParentArena | None = None

    def enrol(
        self, function: Callable[..., Any], options: TokenOptions, *, divisible: bool = False
    ) -> Enrolled:
        """Make a function known, as it is now, and the operation that its tokens count as.

        Args:
            function: The function.
            options: How its tokens are treated.
            divisible: Whether a core can be asked to give part of a token back that it runs.

        Raises:
            PayloadError: The function cannot be sent to a core process.
        """
        version = self.functions.version(function, options.operation_type, options.policy.manner)
        operation = self._operations.declare(
            options.operation_type,
            options.weight,
            options.policy,
            divisible=divisible,
            tags=options.tags,
        )
        return Enrolled(version.index, operation, version)

    def vouch(self, token: Token[Any]) -> None:
        """Let a token be an argument.

        Raises:
            PayloadError: It is not this coordinator's.
        """
        if not self._operations.knows(token.operation):
            raise PayloadError(
                f"{token!r} was made under another coordinator, which was stopped; pass its "
                "result instead, or make the call anew under this one"
            )

    def issue(
        self,
        number: int,
        operation: Operation,
        record: bytes | AttachedRecord | PendingCall,
        version: Version,
    ) -> Token[Any]:
        """Take in an encoded call.

        Raises:
            CoordinatorNotRunning: The coordinator was stopped while the call was encoded.
            AdmissionRejected: There is no room for it, and it cannot or is not to wait.
        """
        if self.closed:
            raise CoordinatorNotRunning.for_call(operation.name)
        home = self._loop
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not home and home.is_closed():
            raise _loop_closed(operation)
        room = 0
        if self._calls_left <= 0 or len(record) > COUNTED_BYTES or loop is not home:
            room = self._admit(operation, record, loop)
        token: Token[Any] = (
            Token(loop=self._callbacks)
            if loop is home or loop is None
            else VisitingToken(loop=loop)
        )
        token.number = number
        token.operation = operation
        token.stage = _CREATED
        token.core = None
        token.record = record
        if record.__class__ is not bytes and isinstance(record, PendingCall):
            self._pending_calls.arrive(number, record)
        token.version = version
        token.created = monotonic_ns()
        if loop is home:
            self._inbox.append(token)
            self._calls_left -= 1
            if self._calls_left <= 0:
                self._turn_within_call()
                # The next call asks for a turn in the loop; after a lone one there is none to take.
                burst = HUNGRY_CALLS if self._scheduler.accounts.has_room else SATED_CALLS
                self._calls_left = min(burst, room - 1 if room else self._admission.vacancies())
            elif not self._turns.due:
                self._turns.request_turn()
        else:
            self._visit(token)
        return token

    def issue_guarded(
        self,
        number: int,
        operation: Operation,
        record: bytes | AttachedRecord | PendingCall,
        version: Version,
    ) -> Token[Any]:
        """Take in an encoded call, if its operation takes calls.

        Raises:
            OperationBlocked: It takes none at the moment.
            CoordinatorNotRunning: As for `issue`.
            AdmissionRejected: As for `issue`.
        """
        token: Token[Any] = self._breaker_guard.pass_in(
            number, operation, lambda: self.issue(number, operation, record, version)
        )
        return token

    def _admit(
        self,
        operation: Operation,
        record: bytes | AttachedRecord | PendingCall,
        loop: asyncio.AbstractEventLoop | None,
    ) -> int:
        """Refuse a call beyond the limits, or block a calling thread until there is room.

        Returns:
            How many there is room for, this one among them.
        """
        admission = self._admission
        while (room := admission.vacancies()) <= 0:
            if loop is not None or not self._loop.is_running():
                raise admission.refusal(operation.name)
            admission.wait_in_thread(operation.name)
            if self.closed:
                raise CoordinatorNotRunning.for_call(operation.name)
        if len(record) > COUNTED_BYTES:
            admission.enter(record)
            room = min(room, 1 + admission.vacancies())
        self._calls_left = min(self._calls_left, room)
        return room

    def forward(  # noqa: PLR0913 - all that such a call is
        self,
        number: int,
        operation: Operation,
        record: bytes | AttachedRecord,
        version: Version,
        recipient: Recipient,
        *,
        expected: int | None = None,
    ) -> ForwardingToken[Any]:
        """Take in an encoded call, from any thread, whose outcome goes to `recipient`.

        Args:
            number: The token's number.
            operation: What it is a call of.
            record: The call.
            version: The function, as it was enrolled.
            recipient: Where the outcome goes.
            expected: How long it will probably run, ns, if that differs from calls before.

        Raises:
            CoordinatorNotRunning: The coordinator was stopped, or its loop is closed.
        """
        if self.closed:
            raise CoordinatorNotRunning.for_call(operation.name)
        home = self._loop
        if home.is_closed():
            raise _loop_closed(operation)
        # Whoever makes these bounds them by itself.
        self._admission.enter(record)
        token: ForwardingToken[Any] = ForwardingToken(loop=self._callbacks)
        token.number = number
        token.operation = operation
        token.stage = _CREATED
        token.core = None
        token.record = record
        token.version = version
        token.created = monotonic_ns()
        token.recipient = recipient
        if expected is not None:  # before the token: whoever takes that finds this
            self.expectations.append((operation, expected))
        self._visit(token)
        return token

    def withdraw(self, token: ForwardingToken[Any]) -> None:
        """Nobody wants the outcome of a token any more."""
        self._withdraw(token)

    def _visit(self, token: Token[Any]) -> None:
        """Take in a call made in another thread."""
        self._visitors.append(token)
        if self.closed:
            # The coordinator's thread may have closed the intake, and taken what there was, before
            # this one came. Whoever finds the token there deals with it.
            try:
                self._visitors.remove(token)
            except ValueError:
                return
            self._admission.release(token)
            raise CoordinatorNotRunning.for_call(token.operation_type)
        if not self._turns.due:
            self._turns.request_turn_threadsafe()

    def end_burst(self) -> None:
        """The loop runs again: the next call is the first of a burst, and sent at once."""
        self._calls_left = 0

    def take(self) -> list[Token[Any]]:
        """Take the tokens that have come in since the last time."""
        tokens, self._inbox = self._inbox, []
        if self._visitors:
            tokens += [self._visitors.popleft() for _ in range(len(self._visitors))]
        return tokens

    def is_empty(self) -> bool:
        """Whether nothing has come in since the last time."""
        return not (self._inbox or self._visitors)

    def count(self) -> int:
        """How many have come in since then."""
        return len(self._inbox) + len(self._visitors)

    def created(self) -> int:
        """How many have come in since then, and have not ended already."""
        return sum(token.stage is _CREATED for token in (*self._inbox, *self._visitors))


def _loop_closed(operation: Operation) -> CoordinatorNotRunning:
    return CoordinatorNotRunning(
        f"{operation.name!r} was called, but the coordinator lives in an event loop that "
        "is closed. Stop it before its loop ends (`async with` does), and start one here."
    )
