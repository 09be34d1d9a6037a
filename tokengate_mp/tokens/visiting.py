"""Tokens of other threads: made in one event loop, and settled in that of the coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.payload.placeholders import NOT_YET, Encoded

R = TypeVar("R")


class VisitingToken(Token[R]):
    """A token made in another thread than the coordinator's, and awaited in that thread's loop.

    Attributes:
        encoded: The result in the bytes that it came in, if other tokens depend on it.
    """

    __slots__ = ("_outcome", "encoded")

    encoded: Encoded
    _outcome: object

    if TYPE_CHECKING:

        def __init__(self, *, loop: asyncio.AbstractEventLoop) -> None: ...

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the result arrives in."""
        return self._loop

    def arrived_value(self) -> object:
        """The value, which may be still on its way to the other thread."""
        encoded = getattr(self, "encoded", None)
        if encoded is not None:
            return encoded
        if self.stage is not TokenState.COMPLETED:
            return NOT_YET
        return getattr(self, "_outcome", NOT_YET)

    def ending_error(self) -> BaseException | None:
        """The error that the token ended with; None if there is none."""
        outcome: Any = getattr(self, "_outcome", None)
        if self.stage is TokenState.COMPLETED or not issubclass(type(outcome), BaseException):
            return super().ending_error()
        return outcome  # type: ignore[no-any-return]  # an exception, by its real type

    def deliver(self, result: R) -> None:
        """Pass the result on to the loop of the other thread."""
        self._pass_on(super().deliver, result)

    def deliver_error(self, error: BaseException) -> None:
        """Pass the error on to the loop of the other thread."""
        self._pass_on(super().deliver_error, error)

    def _pass_on(self, deliver: Callable[[Any], None], outcome: object) -> None:
        self._outcome = outcome

        def arrive() -> None:
            if not self.done():  # it may have been cancelled there meanwhile
                deliver(outcome)

        try:
            self.get_loop().call_soon_threadsafe(arrive)
        except RuntimeError:  # it is closed: nobody is left who could await it
            return
