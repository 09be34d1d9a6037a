"""Tokens that nobody awaits: calls of executors, and batches of maps."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from tokengate_mp.errors import summary
from tokengate_mp.tokens.token import Token

R = TypeVar("R")

_log = logging.getLogger(__name__)


class Recipient(Protocol):
    """The recipient of a forwarding token's outcome, called in the coordinator's thread."""

    def set_result(self, result: Any, /) -> None:
        """Take the result of the function."""

    def set_exception(self, error: BaseException, /) -> None:
        """Take the error of the function, or of a token that was ended."""

    def cancel(self) -> object:
        """Take note that the function is not to be called, unless it is too late for that."""


@runtime_checkable
class Divisible(Recipient, Protocol):
    """A recipient of the outcomes of many calls, some of which may be made elsewhere."""

    def cut(self, count: int, /) -> None:
        """Take note that the token makes only the first so many of its calls."""


class ForwardingToken(Token[R]):
    """A token that nobody awaits: its outcome goes straight to its recipient.

    Attributes:
        recipient: Gets the outcome; None once it was given, or if nobody wants it any more.
    """

    __slots__ = ("recipient",)

    recipient: Recipient | None

    def cut(self, count: int) -> None:
        """Tell the recipient that the token makes only the first so many of its calls."""
        if isinstance(self.recipient, Divisible):
            _give(self.recipient.cut, count)

    def deliver(self, result: R) -> None:
        """Give the result to the recipient."""
        recipient, self.recipient = self.recipient, None
        if recipient is not None:
            _give(recipient.set_result, result)

    def deliver_error(self, error: BaseException) -> None:
        """Give the error of the function, or of the token's end, to the recipient."""
        recipient, self.recipient = self.recipient, None
        if recipient is not None:
            _give(recipient.set_exception, error)


def _give(setter: Callable[[Any], None], outcome: object) -> None:
    try:
        setter(outcome)
    except concurrent.futures.InvalidStateError:
        pass  # whoever holds a future can set its result
    except BaseException as error:
        # Of a callback. It would end the loop that every other outcome has to arrive in. (Only in
        # the main thread can it be Ctrl-C.)
        here = threading.current_thread()
        if issubclass(type(error), KeyboardInterrupt) and here is threading.main_thread():
            raise
        _log.error("a callback of a future raised %s", summary(error))
