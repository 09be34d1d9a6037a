"""Tokens that were made inside tokens, as the parent knows them.

The parent routes nested tokens like any others. Their outcomes stay as they travelled, and go back
to the core processes that refer to the token; an outcome is decoded here only if the caller gets
hold of the token, in the result of another.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

from tokengate_mp.errors import PayloadError
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.loops.callbacks import CallbackQueue
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.payload.placeholders import NOT_YET, Encoded
from tokengate_mp.wire.protocol import delivery
from tokengate_mp.wire.protocol.failures import failure
from tokengate_mp.wire.protocol.pending_call import PendingCall
from tokengate_mp.wire.protocol.records import PICKLED, RAISED, VALUE, encode
from tokengate_mp.wire.protocol.references import reference


class Answer(NamedTuple):
    """An outcome of a token, as it travels.

    Attributes:
        kind: VALUE, PICKLED or RAISED (see `wire.protocol.records`).
        value: The value of such an outcome.
    """

    kind: int
    value: Any


class Keeper(Protocol):
    """A core process that refers to the token."""

    @property
    def core(self) -> int:
        """Number of the core."""
        raise NotImplementedError

    @property
    def shared(self) -> bool:
        """Whether another process of the same core is at work beside this process."""
        raise NotImplementedError

    def answer(self, number: int, outcome: bytes) -> None:
        """Send the outcome of a token to the core process."""


class NestedToken(Token[Any]):
    """A token that was made inside another token.

    As a future it stays unresolved until the caller gets hold of it: see `show`.
    """

    __slots__ = (
        "answer",
        "chain",
        "dependencies",
        "keepers",
        "passed_on",
        "shown",
        "wanted",
    )

    answer: Answer | None
    chain: str | None
    keepers: list[Keeper]
    dependencies: list[NestedToken]  # the tokens whose values it takes, until it has ended
    passed_on: bool  # whether a result refers to it
    shown: bool
    wanted: bool  # whether it was found in a result while it had not ended

    @property
    def seed(self) -> str | None:
        """The seed of the chain that the token leads, or was made in."""
        return super().seed or self.chain

    @property
    def visible(self) -> bool:
        """Whether the caller has got hold of the token, or can, by the result of another token."""
        return self.shown or self.passed_on

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce to a reference in the value of another token, as in the core process."""
        return reference(self) or super().__reduce__()

    def deliver(self, result: Any) -> None:
        """Keep the result, and tell the core processes that refer to the token."""
        answer = result if type(result) is Answer else Answer(VALUE, result)
        # The process that ran it knows already.
        self._end(answer, but=self.core)

    def deliver_error(self, error: BaseException | Answer) -> None:
        """Keep the error, and tell the core processes that refer to the token."""
        if type(error) is Answer:
            # That process does not know whether it was to be run again.
            self._end(error, but=None)
        else:
            self._end(Answer(RAISED, failure(cast("BaseException", error))), but=None)

    def _end(self, answer: Answer, but: int | None) -> None:
        if self.answer is not None:
            return
        self.answer = answer
        self.dependencies = []
        for keeper in self.keepers:
            # The process that ran the token may have done so before anybody there had found it (in
            # a result): both records may be read here together.
            if self.wanted or keeper.core != but or keeper.shared:
                self.tell(keeper)
        if self.shown:
            self._resolve()

    def arrived_value(self) -> object:
        """The value, or the value `Encoded`, if there is any; else `NOT_YET`."""
        if self.answer is None or self.answer.kind == RAISED:
            return NOT_YET
        kind, value = self.answer
        return Encoded(value) if kind == PICKLED else value

    def ending_error(self) -> BaseException | None:
        """The error that the token ended with; None if there is none."""
        if self.shown:
            return super().ending_error()
        if self.answer is None or self.answer.kind != RAISED:
            return None
        return delivery.raised(self.answer.value)

    def tell(self, keeper: Keeper) -> None:
        """Send the outcome to a core process, if the token has ended."""
        if self.answer is not None:
            kind, value = self.answer
            times = getattr(self, "started", 0), getattr(self, "finished", 0)
            if kind == PICKLED:
                value = bytes(value)  # the attachments stay with this token
            keeper.answer(self.number, encode((self.number, kind, *times, value)))

    def show(self) -> None:
        """Become an ordinary future, as the caller gets hold of the token."""
        if not self.shown:
            self.shown = True
            self._resolve()

    def _resolve(self) -> None:
        if self.answer is None or self.done():
            return
        kind, value = self.answer
        if kind == RAISED:
            super().deliver_error(delivery.raised(value))
        elif kind == PICKLED:
            try:
                value = delivery.result(value)
            except PayloadError as error:
                super().deliver_error(error)
            else:
                self.set_result(value)
        else:
            self.set_result(value)


def nested_token(
    callbacks: CallbackQueue,
    number: int,
    operation: Operation,
    request: bytes | PendingCall,
    made: int,
) -> NestedToken:
    """Make a token of a call that was made inside another token.

    Args:
        callbacks: Where the token's callbacks go.
        number: The token's number.
        operation: The operation of the call.
        request: The call.
        made: When the call was made, monotonic ns.
    """
    token = NestedToken(loop=callbacks)
    token.number = number
    token.operation = operation
    token.stage = TokenState.CREATED
    token.core = None
    token.record = request
    token.version = None
    token.created = made
    token.answer = None
    token.chain = None
    token.keepers = []
    token.dependencies = (
        [] if isinstance(request, bytes) else cast("list[NestedToken]", list(request.needs))
    )
    token.shown = token.wanted = token.passed_on = False
    return token


def lost_token(callbacks: CallbackQueue, number: int, operation_type: str) -> NestedToken:
    """Make a failed token that stands for a token of which nothing is known any more."""
    token = nested_token(callbacks, number, Operation(operation_type, "medium", 1), b"", 0)
    token.stage = TokenState.FAILED
    token.deliver_error(PayloadError("the token is not known any more, nor what became of it"))
    return token
