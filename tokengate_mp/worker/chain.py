"""Tokens made inside tokens, as the core process sees them.

A decorated call in a core process gives a `ChildToken`. Its request goes up to the parent through
the outcome ring, and is routed like any other; what becomes of it comes back down, unless it was
run right here. A reference to such a token travels as its number: in a result to the caller, who
gets a `Token` for it, or to another core process, which asks the parent for the outcome.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from tokengate_mp.errors import CoordinatorNotRunning, PayloadError, TokenKilled, summary
from tokengate_mp.options import TokenOptions
from tokengate_mp.seeds import Lead
from tokengate_mp.wire import delivery
from tokengate_mp.wire.arena import CoreArena
from tokengate_mp.wire.codec import to_pickle
from tokengate_mp.wire.definition import define, key_of
from tokengate_mp.wire.records import (
    BLOCKED,
    CALL,
    DROPPED,
    ENROL,
    INNER_BITS,
    KILL,
    LINK,
    PICKLED,
    RAISED,
    WANT,
    Enrolment,
    Outcome,
    decode_outcome,
    decode_request,
    encode,
)
from tokengate_mp.worker.context import CHAIN
from tokengate_mp.worker.invoke import Function, result_of
from tokengate_mp.worker.nesting import NestingCrew
from tokengate_mp.worker.waiting import Waiting

if TYPE_CHECKING:
    from tokengate_mp.lifecycle import TokenState


class ChildToken:
    """A call made inside a token; made by calling a decorated function there.

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
        "_value",
        "begun",
        "number",
        "operation_type",
        "request",
        "retried",
        "seed",
        "waiters",
    )

    def __init__(self, calls: Calls, number: int, operation_type: str) -> None:
        self._calls = calls
        self._outcome: Outcome | None = None
        self._value: Any = None
        self._error: BaseException | None = None
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
        self._calls.unreferenced(self.number)

    def __repr__(self) -> str:
        return f"<ChildToken {self.token_id} {self.operation_type} {self.state.name}>"


class Enrolled(NamedTuple):
    """A function with its options, as the parent knows it from this process.

    Attributes:
        number: The number that calls name it by.
        operation_type: The operation that they count as.
        retried: Whether a token that failed may be run again.
        lead: What makes its tokens leads; None if they are none.
    """

    number: int
    operation_type: str
    retried: bool
    lead: Lead | None


class Calls:
    """Takes the calls that are made in this process: the intake of a core process.

    Args:
        crew: The crew of this process.
        process: The number of this process.
        prefix: What the ids of tokens begin with.

    Attributes:
        arena: Where large arguments go: nowhere but by the ring.
        prefix: The same.
        waiting: Waits for tokens.
    """

    def __init__(self, crew: NestingCrew, process: int, prefix: str) -> None:
        self.prefix = crew.prefix = prefix
        self.waiting = Waiting(crew)
        self.arena: CoreArena | None = None
        self._crew = crew
        self._indices = count(process << INNER_BITS)
        self._enrolments: dict[tuple[int, str, str, bytes], int] = {}
        self._lock = Lock()
        self._forked = False
        os.register_at_fork(after_in_child=self._close)

    def _close(self) -> None:
        """In a fork of this process: the mailbox is its parent's."""
        self._forked = True

    def enrol(self, function: Callable[..., Any], options: TokenOptions) -> tuple[int, Enrolled]:
        """Make a function known to the parent: its index, and the enrolment that calls name.

        Raises:
            CoordinatorNotRunning: This is a fork of a core process.
            PayloadError: The function cannot be sent.
            ValueError: Its tokens have a sticky anchor, which those made inside tokens cannot have.
        """
        if options.sticky_anchor is not None:
            raise ValueError(
                f"{options.operation_type!r} has a sticky_anchor, and is called inside a token, "
                "where that has no effect; call `f.options(sticky_anchor=None)(…)` there"
            )
        if self._forked:
            raise CoordinatorNotRunning.for_call(options.operation_type)
        with self._crew.shield(), self._lock:
            return self._enrol(function, options)

    def _enrol(self, function: Callable[..., Any], options: TokenOptions) -> tuple[int, Enrolled]:
        known = self._crew.indices
        lead = options.policy.lead
        key = key_of(function)
        index = None if key is None else known.get((key, lead))
        definition = b""
        if index is None:
            try:
                definition = define(function, lead)
            except Exception as error:
                raise PayloadError(
                    f"{options.operation_type!r}: the function cannot be sent to a core "
                    f"process: {summary(error)}. Define it at the top of a module, or do "
                    "without what it refers to."
                ) from error
            index = next(self._indices)
            self._crew.learn(index, Function(definition, lead, function))
            if key is not None:
                known[key, lead] = index
        policy = to_pickle(options.policy)
        name, weight = options.operation_type, options.weight
        fresh = len(self._enrolments)
        enrolment = self._enrolments.setdefault((index, name, weight, policy), fresh)
        if enrolment == fresh:
            told = Enrolment(index, definition, name, weight, policy)
            self.tell(enrolment, ENROL, value=encode(told))
        return index, Enrolled(enrolment, name, options.policy.retries > 0, lead)

    def issue(
        self, number: int, enrolled: Enrolled, record: bytes, _function: Callable[..., Any]
    ) -> ChildToken:
        """Take in an encoded call.

        Raises:
            CoordinatorNotRunning: This is a fork of a core process.
        """
        if self._forked:
            raise CoordinatorNotRunning.for_call(enrolled.operation_type)
        with self._crew.shield():
            token = ChildToken(self, number, enrolled.operation_type)
            token.retried = enrolled.retried
            self._crew.made[number] = ref(token)
            made = time.monotonic_ns()
            chain = CHAIN.get()
            if chain is None:
                self.tell(number, CALL, made, enrolled.number, record)
            else:
                token.seed = chain.seed
                link = encode((*chain, record))
                told = encode((number, LINK, made, enrolled.number, link))
                self._crew.say(number, told, quiet=True)
                self._crew.link(decode_request(record), chain)
            if enrolled.lead is not None:
                token.seed = enrolled.lead.seed(token.token_id)
            return token

    def kill(self, number: int, reason: str) -> None:
        """Ask the parent to end a token."""
        with self._crew.shield():
            self.tell(number, KILL, value=reason)

    def refer(self, number: int, operation_type: str) -> ChildToken:
        """The token of that number, which was found in what another token returned."""
        known = self._crew.made.get(number)
        token = None if known is None else known()
        if token is None:
            token = ChildToken(self, number, operation_type)
            token.retried = True  # it may be, for all that is known here
            self._crew.made[number] = ref(token)
            return self._want(token)
        return token

    def _want(self, token: ChildToken) -> ChildToken:
        with self._crew.shield():
            # That it was dropped before must not be heard after this.
            self._crew.tell_dropped()
            self.tell(token.number, WANT)
            return token

    def unreferenced(self, number: int) -> None:
        """Nothing in this process refers to a token any more."""
        if not self._forked:
            self._crew.made.pop(number, None)
            # Told later: this may be called at any moment, also while a record is being written.
            self._crew.dropped.append(number)

    def tell(self, number: int, kind: int, first: int = 0, second: int = 0, value: Any = 0) -> None:
        """Say something of a token to the parent (see `wire.records.Outcome`)."""
        self._crew.say(number, encode((number, kind, first, second, value)))


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
