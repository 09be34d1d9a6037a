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
from typing import TYPE_CHECKING, Any, Protocol, cast
from weakref import ref

from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.wire.payload.codec import SCALARS
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
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.crew.unannounced import Member
from tokengate_mp.worker.nested.child_token import ChildToken
from tokengate_mp.worker.nested.enrolments import Enrolments
from tokengate_mp.worker.nested.nested_runs import NestedRuns
from tokengate_mp.worker.nested.waiting import Waiting
from tokengate_mp.worker.run.chain import CURRENT_CHAIN
from tokengate_mp.worker.run.functions import Enrolled

if TYPE_CHECKING:
    # A process whose tokens call nothing needs neither.
    from tokengate_mp.config.options import TokenOptions
    from tokengate_mp.wire.protocol.pending_call import PendingCall


class Called(Protocol):
    """A decorated function, as far as a call inside a token is concerned.

    Attributes:
        called: The plain function.
        token_options: How its tokens are treated.
        inside: The result of enrolling it in this process; None before.
    """

    called: Callable[..., Any]
    token_options: TokenOptions
    inside: Any

    def encode_nested(
        self,
        number: int,
        index: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        anchored: bool,
    ) -> bytes | PendingCall:
        """Encode a call as a request, or as more than that."""


class Calls:
    """Takes the calls that are made in this process: the intake of a core process.

    Args:
        crew: The crew of this process.
        process: The number of this process.
        prefix: The beginning of the ids of tokens.

    Attributes:
        prefix: The beginning of the ids of tokens.
        known: The tokens that this process refers to.
    """

    def __init__(self, crew: Crew, process: int, prefix: str) -> None:
        self.prefix = prefix
        self.known = crew.known
        self._crew = crew
        self._here = crew.here
        self._interrupts = crew.interrupts
        self._reporter = crew.reporter
        self._runs = runs = NestedRuns(crew)
        waiting = Waiting(crew, runs)
        # What tokens ask for goes straight there.
        self.run_at_once = waiting.run_at_once
        self.wait_until_known = waiting.wait_until_known
        self.token_number = crew.here.token_number
        self._enrolments = Enrolments(crew, process)
        self._numbers = count(process << NESTED_BITS | 1)
        self._forked = False
        os.register_at_fork(after_in_child=self._cut_off_fork)

    def _cut_off_fork(self) -> None:
        """Refuse calls in a fork of the process: the mailbox belongs to the parent of the fork."""
        self._forked = True
        self.known.disown_lock()
        self._crew.outgoing.cut_off_fork()

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
        if enrolled is None or (enrolled.unchanged is not None and not enrolled.unchanged()):
            enrolled = function.inside = self._enrolments.enrol_function(
                function.called, function.token_options
            )
        number = next(self._numbers)
        made = time.monotonic_ns()
        chain = CURRENT_CHAIN.get()
        # In a chain it is run in this process, and these need no encoding to stay as they are.
        record: bytes | PendingCall = b""
        request: Request | None = None
        if chain is not None and not kwargs and SCALARS.issuperset(map(type, args)):
            request = Request(number, enrolled.function, args)  # type: ignore[arg-type]
        else:
            # A chain is on one core already, whatever is warm elsewhere.
            anchored = chain is None
            record = function.encode_nested(
                number, enrolled.function, args, kwargs, anchored=anchored
            )
            if chain is not None and isinstance(record, bytes):
                request = decode_request(record)
        token = ChildToken(self, number, enrolled.operation_type, request)
        token.retried = enrolled.retried
        interrupts = self._interrupts
        slot = self._here.reach
        running = 0 if slot is None else interrupts.step_out(slot)
        token.maker = running
        try:
            self.known.by_number[number] = ref(token)
            if not isinstance(record, bytes):
                token.needs = cast("list[ChildToken]", list(record.needs))
                self._tell_pending_call(token, made, enrolled, record)
            elif chain is None or request is None:
                self.tell_parent(number, CALL, made, enrolled.number, record)
            else:
                token.seed = chain.seed
                self._runs.link_member(Member(made, enrolled, chain, request, record))
        finally:
            if slot is not None and running:
                interrupts.step_in(slot, running)
        if enrolled.lead is not None:
            token.seed = enrolled.lead.seed(token.token_id)
        return token

    def map(self, function: Any, items: Iterator[Iterable[Any]], **options: Any) -> Any:
        """Map a decorated function over items inside a token (see `nested_map.NestedMap`)."""
        from tokengate_mp.worker.nested.nested_map import NestedMap  # noqa: PLC0415 - few processes map

        return NestedMap(function, items, function.operation_type, **options)

    def _tell_pending_call(
        self, token: ChildToken, made: int, enrolled: Enrolled, pending_call: PendingCall
    ) -> None:
        """Tell the parent of a call that waits there, for its needs or for the choice of a core."""
        chain = CURRENT_CHAIN.get()
        travelling = pending_call.travelling()
        if chain is None:
            self.tell_parent(token.number, CALL, made, enrolled.number, travelling)
        else:
            token.seed = chain.seed
            value = (*chain, travelling, None)
            self.tell_parent(token.number, LINK, made, enrolled.number, value)

    def wait_for(self, token: ChildToken, deadline: float | None) -> bool:
        """Wait until a token has ended, and before that for its needs.

        A thread that waits runs what it waits for, and nothing else: so it waits for each of them,
        as nobody else might run it.

        Args:
            token: The token.
            deadline: Until when to wait, monotonic seconds; None for as long as it takes.

        Returns:
            False if it has not ended by the deadline.
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

    def request_kill(self, number: int, reason: str) -> None:
        """Ask the parent to end a token."""
        with self._here.shield():
            self.tell_parent(number, KILL, value=reason)

    def refer(self, number: int, operation_type: str) -> ChildToken:
        """Return the token of that number, which was found in the result of another token."""
        with self._here.shield():
            known = self.known
            with known.lock:
                token = cast("ChildToken | None", known.find_token(number))
                if token is not None:
                    return token
                token = ChildToken(self, number, operation_type)
                token.retried = True  # it may be, for all that is known here
                known.by_number[number] = ref(token)
            # (That the one before it was dropped may be heard after this: the parent counts.)
            self.tell_parent(number, WANT, value=operation_type)
            return token

    def tell_parent(
        self, number: int, kind: int, first: int = 0, second: int = 0, value: Any = 0
    ) -> None:
        """Tell the parent something about a token.

        Args:
            number: The token.
            kind: The kind of record (see `wire.protocol.records.Outcome`).
            first: The field `started` of the record.
            second: The field `finished`.
            value: The field `value`.
        """
        self._reporter.say(number, encode((number, kind, first, second, value)))
