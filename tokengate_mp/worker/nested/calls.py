"""Tokens made inside tokens, as the core process sees them.

A decorated call in a core process gives a `ChildToken`. Its request goes up to the parent through
the outcome ring, and is routed like any other; what becomes of it comes back down, unless it was
run right here. A reference to such a token travels as its number: in a result to the caller, who
gets a `Token` for it, or to another core process, which asks the parent for the outcome.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from threading import RLock
from typing import Any, Protocol, cast
from weakref import ref

from tokengate_mp.config.options import TokenOptions
from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.wire.payload.codec import SCALARS
from tokengate_mp.wire.protocol.pending_call import PendingCall
from tokengate_mp.wire.protocol.records import (
    CALL,
    KILL,
    LINK,
    NESTED_BITS,
    WANT,
    Request,
    decode_request,
    encode,
)
from tokengate_mp.worker.nested.child_token import ChildToken
from tokengate_mp.worker.nested.enrolments import Enrolled, Enrolments
from tokengate_mp.worker.nested.nesting import NestingCrew
from tokengate_mp.worker.nested.unannounced import Member
from tokengate_mp.worker.nested.waiting import Waiting
from tokengate_mp.worker.run.context import CHAIN


class Called(Protocol):
    """A decorated function, as far as a call inside a token is concerned.

    Attributes:
        called: What is run for a call.
        token_options: How its tokens are treated.
        inside: What enrolling it has given in this process.
    """

    called: Callable[..., Any]
    token_options: TokenOptions
    inside: Any

    def encoded(
        self,
        number: int,
        index: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        anchored: bool,
    ) -> bytes | PendingCall:
        """A call as a request, or more than that."""


class Calls:
    """Takes the calls that are made in this process: the intake of a core process.

    Args:
        crew: The crew of this process.
        process: The number of this process.
        prefix: What the ids of tokens begin with.

    Attributes:
        prefix: The same.
        crew: The same.
        waiting: Waits for tokens.
        referring: Held by whoever looks for a token that is known here, and makes or forgets it.
    """

    def __init__(self, crew: NestingCrew, process: int, prefix: str) -> None:
        self.prefix = crew.prefix = prefix
        self.waiting = Waiting(crew)
        self.crew = crew
        self._enrolments = Enrolments(crew, process)
        self._numbers = count(process << NESTED_BITS | 1)
        self._forked = False
        self.referring = RLock()  # of two for the same token, one would never get its outcome
        os.register_at_fork(after_in_child=self._close)

    def _close(self) -> None:
        """In a fork of this process: the mailbox is its parent's."""
        self._forked = True
        self.referring = RLock()  # another thread may have held the old one
        self.crew.abandon()

    def call(
        self, function: Called, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ChildToken:
        """Make a token of a call.

        Raises:
            CoordinatorNotRunning: This is a fork of a core process.
            PayloadError: The function or an argument cannot be encoded.
        """
        if self._forked:
            raise CoordinatorNotRunning.for_call(function.token_options.operation_type)
        enrolled: Enrolled | None = function.inside
        if enrolled is None:
            enrolled = function.inside = self._enrolments.enrol(
                function.called, function.token_options
            )
        number = next(self._numbers)
        made = time.monotonic_ns()
        chain = CHAIN.get()
        # In a chain it is run in this process, and these need no encoding to stay as they are.
        record: bytes | PendingCall = b""
        request: Request | None = None
        if chain is not None and not kwargs and SCALARS.issuperset(map(type, args)):
            request = Request(number, enrolled.function, args)  # type: ignore[arg-type]
        else:
            # A chain is on one core already, whatever is warm elsewhere.
            anchored = chain is None
            record = function.encoded(number, enrolled.function, args, kwargs, anchored=anchored)
            if chain is not None and isinstance(record, bytes):
                request = decode_request(record)
        token = ChildToken(self, number, enrolled.operation_type, request)
        token.retried = enrolled.retried
        crew = self.crew
        slot = crew.here.reach
        running = 0 if slot is None else crew.interrupts.step_out(slot)
        token.maker = running
        try:
            crew.made[number] = ref(token)
            if not isinstance(record, bytes):
                token.needs = cast("list[ChildToken]", list(record.needs))
                self._tell_pending_call(token, made, enrolled, record)
            elif chain is None or request is None:
                self.tell(number, CALL, made, enrolled.number, record)
            else:
                token.seed = chain.seed
                crew.link(Member(made, enrolled, chain, request, record))
        finally:
            if slot is not None and running:
                crew.interrupts.step_in(slot, running)
        if enrolled.lead is not None:
            token.seed = enrolled.lead.seed(token.token_id)
        return token

    def map(self, function: Any, items: Iterator[Iterable[Any]], **options: Any) -> Any:
        """Map a decorated function over items inside a token (see `child_map.ChildMap`)."""
        from tokengate_mp.worker.nested.nested_map import ChildMap  # noqa: PLC0415 - few processes map

        return ChildMap(function, items, function.operation_type, **options)

    def _tell_pending_call(
        self, token: ChildToken, made: int, enrolled: Enrolled, pending_call: PendingCall
    ) -> None:
        """Tell of a call that waits in the parent, for what it needs or where it is to go."""
        chain = CHAIN.get()
        travelling = pending_call.travelling()
        if chain is None:
            self.tell(token.number, CALL, made, enrolled.number, travelling)
        else:
            token.seed = chain.seed
            value = (*chain, travelling, None)
            self.tell(token.number, LINK, made, enrolled.number, value)

    def wait(self, token: ChildToken, deadline: float | None) -> bool:
        """Wait until a token has ended, and before for those that it needs.

        A thread that waits runs what it waits for, and nothing else: so it waits for each of them,
        as nobody else might run it.

        Returns:
            False if it has not ended by the deadline, monotonic seconds.
        """
        line = [token]
        while line:
            last = line[-1]
            if last.done():
                line.pop()
            elif needs := last.take_needs():
                line += reversed(needs)
            elif not last.attempt(deadline):
                return False
        return True

    def kill(self, number: int, reason: str) -> None:
        """Ask the parent to end a token."""
        with self.crew.shield():
            self.tell(number, KILL, value=reason)

    def refer(self, number: int, operation_type: str) -> ChildToken:
        """The token of that number, which was found in what another token returned."""
        with self.crew.shield():
            with self.referring:
                known = self.crew.made.get(number)
                token = None if known is None else known()
                if token is not None:
                    return token
                token = ChildToken(self, number, operation_type)
                token.retried = True  # it may be, for all that is known here
                self.crew.made[number] = ref(token)
            # (That the one before it was dropped may be heard after this: the parent counts.)
            self.tell(number, WANT, value=operation_type)
            return token

    def tell(self, number: int, kind: int, first: int = 0, second: int = 0, value: Any = 0) -> None:
        """Say something of a token to the parent (see `wire.protocol.records.Outcome`)."""
        self.crew.say(number, encode((number, kind, first, second, value)))
