"""Tokens made inside tokens, as the core process sees them.

A decorated call in a core process gives a `ChildToken`. Its request goes up to the parent through
the outcome ring, and is routed like any other; what becomes of it comes back down, unless it was
run right here. A reference to such a token travels as its number: in a result to the caller, who
gets a `Token` for it, or to another core process, which asks the parent for the outcome.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from tokengate_mp.errors import CoordinatorNotRunning, PayloadError, TokenKilled
from tokengate_mp.options import TokenOptions
from tokengate_mp.wire import delivery
from tokengate_mp.wire.codec import SCALARS
from tokengate_mp.wire.records import (
    BLOCKED,
    CALL,
    DROPPED,
    INNER_BITS,
    KILL,
    PICKLED,
    RAISED,
    WANT,
    Outcome,
    Request,
    decode_outcome,
    decode_request,
    encode,
)
from tokengate_mp.worker.context import CHAIN
from tokengate_mp.worker.enrolments import Enrolled, Enrolments
from tokengate_mp.worker.invoke import result_of
from tokengate_mp.worker.members import Member
from tokengate_mp.worker.nesting import NestingCrew
from tokengate_mp.worker.waiting import Waiting

if TYPE_CHECKING:
    from tokengate_mp.lifecycle import TokenState


class ChildToken:
    """A call made inside a token; made by calling a decorated function there.

    Args:
        calls: Where it was made.
        number: Its number.
        operation_type: The operation that it is a call of.
        made: What to run, if it was put into the queue of this process.

    Attributes:
        number: Its number.
        operation_type: The operation that it is a call of.
        begun: Whether a thread of this process has begun it.
        request: Its request, when it is here to be run and a thread waits for it.
        retried: Whether it may be run again when it has failed, which the parent decides.
        seed: The seed of the chain that it leads, or is in; None outside a chain.
        waiters: How many threads wait for it.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_error",
        "_outcome",
        "_request",
        "_value",
        "begun",
        "number",
        "operation_type",
        "request",
        "retried",
        "seed",
        "waiters",
    )

    def __init__(
        self, calls: Calls, number: int, operation_type: str, made: Request | None = None
    ) -> None:
        self._calls = calls
        self._outcome: Outcome | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._request = made
        self.number = number
        self.operation_type = operation_type
        self.begun = False
        self.request: Any = None
        self.retried = False
        self.seed: str | None = None
        self.waiters = 0

    @property
    def token_id(self) -> str:
        """Its id, the same as in the parent."""
        return f"{self._calls.prefix}-{self.number}"

    @property
    def state(self) -> TokenState:
        """Where in its life it is, as far as this process knows.

        What waits in the parent and what another core runs looks the same from here: WAITING.
        """
        from tokengate_mp.lifecycle import TokenState  # noqa: PLC0415 - few ask

        if self._outcome is None:
            return TokenState.EXECUTING if self.begun else TokenState.WAITING
        if self._outcome.kind & ~BLOCKED != RAISED:
            return TokenState.COMPLETED
        killed = isinstance(self._failure(self._outcome), TokenKilled)
        return TokenState.KILLED if killed else TokenState.FAILED

    def done(self) -> bool:
        """Whether it has ended, and what became of it is known here."""
        return self._outcome is not None

    def get(self, timeout: float | None = None) -> Any:
        """Its result, waiting for it.

        While this thread waits, others may run tokens in its place; and if the token can be run
        right here, this thread runs it.

        Args:
            timeout: Seconds to wait; None for as long as it takes. A token that this thread has
                begun to run itself is run to its end.

        Raises:
            TimeoutError: It has not ended within `timeout`. The token goes on.
            Exception: Whatever the function raised.
        """
        request = self._request
        if request is not None:
            self._request = None
            self._calls.waiting.at_once(self, request)
        if self._outcome is None:
            deadline = None if timeout is None else time.monotonic() + timeout
            if not self._calls.waiting.until(self, deadline):
                raise TimeoutError(f"{self!r} has not ended within {timeout} s")
        return self.result()

    def result(self) -> Any:
        """Its result.

        Raises:
            RuntimeError: It has not ended.
            Exception: Whatever the function raised.
        """
        outcome = self._outcome
        if outcome is None:
            raise RuntimeError(f"{self!r} has not ended; use get() to wait for it")
        kind = outcome.kind & ~BLOCKED
        if kind == RAISED:
            raise self._failure(outcome)
        if kind == PICKLED:
            if self._error is None and self._value is None:
                try:
                    self._value = delivery.result(outcome.value)
                except PayloadError as error:
                    self._error = error
            if self._error is not None:
                raise self._error
            return self._value
        return outcome.value

    def exception(self) -> BaseException | None:
        """What its function raised; None if it returned.

        Raises:
            RuntimeError: It has not ended.
        """
        try:
            self.result()
        except BaseException as error:
            if self._outcome is None:
                raise
            return error
        return None

    def _failure(self, outcome: Outcome) -> BaseException:
        if self._error is None:
            self._error = delivery.raised(outcome.value)
        return self._error

    def kill(self, reason: str = "killed by the token that made it") -> bool:
        """Ask the parent to end it; False if it is known to have ended already."""
        if self._outcome is not None:
            return False
        self._calls.kill(self.number, reason)
        return True

    def arrive(self, record: bytes, *, here: bool) -> None:
        """What became of it is known. The first to say so is right: what comes later is dropped.

        Args:
            record: Its outcome.
            here: Whether it was run in this process; the parent may think otherwise of it then.
        """
        if self._outcome is None:
            outcome = decode_outcome(record)
            # If it was ended by the parent, or might be run again, the parent says so itself.
            failed = outcome.kind & ~BLOCKED == RAISED
            if not here or not (outcome.kind == DROPPED or (failed and self.retried)):
                self._outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        carry = result_of.carry
        if carry is None:
            raise PayloadError(
                f"{self!r} can be returned, but not passed on to another call made inside a "
                "token: pass its result, `token.get()`"
            )
        carry.append(self)
        return referred, (self.number, self.operation_type)

    def __del__(self) -> None:
        crew, number = self._calls.crew, self.number
        crew.made.pop(number, None)
        # Told later: this may be called at any moment, also while a record is being written.
        crew.dropped.append(number)

    def __repr__(self) -> str:
        return f"<ChildToken {self.token_id} {self.operation_type} {self.state.name}>"


class Called(Protocol):
    """A decorated function, as far as a call inside a token is concerned.

    Attributes:
        __wrapped__: The plain function.
        token_options: How its tokens are treated.
        inside: What enrolling it has given in this process.
    """

    __wrapped__: Callable[..., Any]
    token_options: TokenOptions
    inside: Any

    def encoded(
        self, number: int, index: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> bytes:
        """A call as a request."""


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
    """

    def __init__(self, crew: NestingCrew, process: int, prefix: str) -> None:
        self.prefix = crew.prefix = prefix
        self.waiting = Waiting(crew)
        self.crew = crew
        self._enrolments = Enrolments(crew, process)
        self._numbers = count(process << INNER_BITS | 1)
        self._forked = False
        os.register_at_fork(after_in_child=self._close)

    def _close(self) -> None:
        """In a fork of this process: the mailbox is its parent's."""
        self._forked = True

    def call(
        self, function: Called, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ChildToken:
        """Make a token of a call.

        Raises:
            CoordinatorNotRunning: This is a fork of a core process.
            PayloadError: The function or an argument cannot be encoded.
            ValueError: See `Enrolments`.
        """
        if self._forked:
            raise CoordinatorNotRunning.for_call(function.token_options.operation_type)
        enrolled: Enrolled | None = function.inside
        if enrolled is None:
            enrolled = function.inside = self._enrolments.enrol(
                function.__wrapped__, function.token_options
            )
        number = next(self._numbers)
        made = time.monotonic_ns()
        chain = CHAIN.get()
        # In a chain it is run in this process, and these need no encoding to stay as they are.
        record = b""
        request: Request | None = None
        if chain is not None and not kwargs and SCALARS.issuperset(map(type, args)):
            request = Request(number, enrolled.function, args)  # type: ignore[arg-type]
        else:
            record = function.encoded(number, enrolled.function, args, kwargs)
            if chain is not None:
                request = decode_request(record)
        token = ChildToken(self, number, enrolled.operation_type, request)
        token.retried = enrolled.retried
        crew = self.crew
        slot = crew.here.reach
        running = 0 if slot is None else crew.interrupts.step_out(slot)
        try:
            crew.made[number] = ref(token)
            if chain is None or request is None:
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

    def kill(self, number: int, reason: str) -> None:
        """Ask the parent to end a token."""
        with self.crew.shield():
            self.tell(number, KILL, value=reason)

    def refer(self, number: int, operation_type: str) -> ChildToken:
        """The token of that number, which was found in what another token returned."""
        known = self.crew.made.get(number)
        token = None if known is None else known()
        if token is None:
            token = ChildToken(self, number, operation_type)
            token.retried = True  # it may be, for all that is known here
            self.crew.made[number] = ref(token)
            return self._want(token)
        return token

    def _want(self, token: ChildToken) -> ChildToken:
        with self.crew.shield():
            # That it was dropped before must not be heard after this.
            self.crew.tell_dropped()
            self.tell(token.number, WANT)
            return token

    def tell(self, number: int, kind: int, first: int = 0, second: int = 0, value: Any = 0) -> None:
        """Say something of a token to the parent (see `wire.records.Outcome`)."""
        self.crew.say(number, encode((number, kind, first, second, value)))


_finder: Callable[[int, str], Any] | None = None


def open_finder(finder: Callable[[int, str], Any] | None) -> None:
    """From now on `finder` gives the tokens that results refer to, by number and operation."""
    global _finder  # noqa: PLW0603 - a pickle says what to call, and has nothing to say it to
    _finder = finder


def referred(number: int, operation_type: str) -> Any:
    """The token that a result refers to.

    Raises:
        CoordinatorNotRunning: The coordinator that knows it was stopped.
    """
    if _finder is None:
        raise CoordinatorNotRunning(
            f"a result refers to token {number}, a call of {operation_type!r}, and the coordinator "
            "that ran it was stopped. Await it before."
        )
    return _finder(number, operation_type)
