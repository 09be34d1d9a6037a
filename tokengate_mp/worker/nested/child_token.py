"""A token as the process knows it that it was made in, or that has found it in a result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from tokengate_mp.errors import PayloadError, TokenKilled
from tokengate_mp.wire.payload.buffers import detached
from tokengate_mp.wire.payload.placeholders import FILLABLE, NOT_YET, Encoded, reduce_token
from tokengate_mp.wire.protocol import delivery
from tokengate_mp.wire.protocol.records import (
    BLOCKED,
    DROPPED,
    PICKLED,
    RAISED,
    Outcome,
    Request,
    decode_outcome,
)
from tokengate_mp.wire.protocol.references import reference, refers
from tokengate_mp.worker.crew.known_tokens import KnownTokens
from tokengate_mp.worker.run.invoke import unwinding

if TYPE_CHECKING:
    from tokengate_mp.lifecycle import TokenState


class ChildCalls(Protocol):
    """The calls of a core process, as far as a token is concerned.

    Attributes:
        prefix: The beginning of the ids of tokens.
        known: The tokens that this process refers to.
    """

    prefix: str
    known: KnownTokens

    def run_at_once(self, token: ChildToken, request: Request) -> None:
        """Run a token in the calling thread, if that can be done right now."""

    def wait_for(self, token: ChildToken, deadline: float | None) -> bool:
        """Wait until a token has ended; False for the deadline, monotonic seconds."""

    def wait_until_known(self, token: ChildToken, deadline: float | None) -> bool:
        """Wait until a token has ended, or its needs are known; False for the deadline."""

    def refer(self, number: int, operation_type: str) -> ChildToken:
        """Return the token of that number."""

    def request_kill(self, number: int, reason: str) -> None:
        """Ask the parent to end a token."""


class ChildToken:
    """A call made inside a token; made by calling a decorated function there.

    Args:
        calls: The calls of this process.
        number: Its number.
        operation_type: The operation of its call.
        made: The request to run, if it waits in this process.

    Attributes:
        number: Its number.
        operation_type: The operation of its call.
        begun: Whether a thread of this process has begun it.
        hint: The numbers and operations of the tokens that it needs, if the parent has told them.
        needs: Tokens that it needs, if it was called with them here.
        request: Its request, when it is here to be run and a thread waits for it.
        retried: Whether it may be run again when it has failed, which the parent decides.
        seed: The seed of the chain that it leads, or is in; None outside a chain.
        waiters: How many threads wait for it.
        maker: The number of the token that made it here; 0 for none.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_error",
        "_outcome",
        "_request",
        "_value",
        "begun",
        "hint",
        "maker",
        "needs",
        "number",
        "operation_type",
        "request",
        "retried",
        "seed",
        "waiters",
    )

    def __init__(
        self, calls: ChildCalls, number: int, operation_type: str, made: Request | None = None
    ) -> None:
        self._calls = calls
        self._outcome: Outcome | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._request = made
        self.number = number
        self.operation_type = operation_type
        self.begun = False
        self.request: Request | None = None
        self.retried = False
        self.seed: str | None = None
        self.waiters = 0
        self.maker = 0
        self.needs: list[ChildToken] = []
        self.hint: list[tuple[int, str]] = []

    @property
    def token_id(self) -> str:
        """Its id, the same as in the parent."""
        return f"{self._calls.prefix}-{self.number}"

    @property
    def state(self) -> TokenState:
        """The state of the token, as far as is known here.

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
        """Whether the token has ended, and its outcome is known here."""
        return self._outcome is not None

    def has_news(self) -> bool:
        """Whether a thread that waits for the token has something to act on.

        That is its outcome, its request, or a hint of the tokens that it needs.
        """
        return self._outcome is not None or self.request is not None or bool(self.hint)

    def __await__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} was made inside a token, where no event loop runs that its result arrives "
            "in: wait for it with get(), or return it to the caller, who can await it"
        )

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the result, and return the result.

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
        if request is not None:  # which most that are waited for have: so these go straight on
            self._request = None
            self._calls.run_at_once(self, request)
        if self._outcome is None:
            deadline = None if timeout is None else time.monotonic() + timeout
            if not self._calls.wait_for(self, deadline):
                raise TimeoutError(f"{self!r} has not ended within {timeout} s")
        return self.result()

    def attempt(self, deadline: float | None) -> bool:
        """Wait for the outcome, running the token if that can be done here; False for the deadline.

        The token may not have ended even so: if it has `needs` then, those come first.

        Args:
            deadline: Until when to wait, monotonic seconds; None for as long as it takes.
        """
        request = self._request
        if request is not None:
            self._request = None
            self._calls.run_at_once(self, request)
        return self._outcome is not None or self._calls.wait_until_known(self, deadline)

    def take_needs(self) -> list[ChildToken]:
        """Return the tokens that have to end before the token can begin, as far as is known."""
        needs, self.needs = self.needs, []
        hint, self.hint = self.hint, []
        needs += [self._calls.refer(number, operation) for number, operation in hint]
        return [token for token in needs if not token.done()]

    def arrived_value(self) -> object:
        """Return the value, or the value `Encoded`, if that is here; else `NOT_YET`."""
        outcome = self._outcome
        if outcome is None or outcome.kind & ~BLOCKED == RAISED:
            return NOT_YET
        if outcome.kind & ~BLOCKED != PICKLED:
            return outcome.value
        # A call that takes the value with it may run when this token is not referred to any more.
        pickled = detached(outcome.value)
        # What the value refers to only the parent can keep: so that is to fill it in.
        return NOT_YET if refers(pickled) else Encoded(pickled)

    def result(self) -> Any:
        """Return the result.

        Raises:
            RuntimeError: The token has not ended.
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
        """Return the exception that the function raised; None if the function returned.

        Raises:
            RuntimeError: The token has not ended.
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
        """Ask the parent to end the token; False if the token is known to have ended already."""
        if self._outcome is not None:
            return False
        self._calls.request_kill(self.number, reason)
        return True

    def accept_outcome(self, record: bytes, *, here: bool) -> None:
        """Take in the outcome. The first to come is right: later outcomes are dropped.

        Args:
            record: The outcome.
            here: Whether the token was run in this process; the parent may then think otherwise of
                the outcome.
        """
        if self._outcome is None:
            outcome = decode_outcome(record)
            # If it was ended by the parent, or might be run again, the parent says so itself.
            failed = outcome.kind & ~BLOCKED == RAISED
            if not here or not (outcome.kind == DROPPED or (failed and self.retried)):
                self._outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        # As an argument of a call it stands for its value.
        return reference(self) or reduce_token(self)

    def __del__(self) -> None:
        known, number = self._calls.known, self.number
        with known.lock:
            mine = known.by_number.get(number)
            # Its weak reference may be gone before this is called, and another one stand there.
            if mine is not None and ((there := mine()) is None or there is self):
                del known.by_number[number]
        # Told later: this may be called at any moment, also while a record is being written.
        forsaken = self.maker and self.maker == unwinding.token
        (known.forsaken if forsaken else known.dropped).append(number)

    def __repr__(self) -> str:
        return f"<ChildToken {self.token_id} {self.operation_type} {self.state.name}>"


FILLABLE.add(ChildToken)
