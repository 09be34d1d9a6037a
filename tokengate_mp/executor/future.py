"""The future that `submit` returns: a standard future, of which the runtime knows."""

from __future__ import annotations

import threading
from _thread import RLock
from concurrent.futures import Future
from concurrent.futures._base import PENDING
from typing import Any, Final, Protocol, TypeVar

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.tokens.forwarding import ForwardingToken

R = TypeVar("R")


class Withdrawing(Protocol):
    """The part of a runtime that futures need. Called in any thread."""

    def withdraw_token(self, token: ForwardingToken[Any]) -> bool:
        """Withdraw a token; False if the token was sent to a core, or is withdrawn already."""

    def kill_token(self, token: ForwardingToken[Any], reason: str) -> None:
        """End a token, running or not."""


_SLIM: Final = vars(Future()).keys() == {
    "_condition",
    "_state",
    "_result",
    "_exception",
    "_waiters",
    "_done_callbacks",
}
"""Whether a standard future consists of what it has consisted of since Python 3.2."""


class Meeting(RLock):  # type: ignore[misc]  # final for type checkers alone
    """A condition that is made when somebody waits: most futures are done before.

    (A `threading.Condition` is eight objects, more than the rest of the call, and the garbage
    collector goes through them for each future that is alive. And it is entered by Python code: a
    Ctrl-C that comes there leaves it locked, and whoever sets the result waits for ever.)
    """

    __slots__ = ("_condition",)

    def __init__(self) -> None:
        self._condition: threading.Condition | None = None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified; the lock is held, and given back meanwhile."""
        if self._condition is None:
            self._condition = threading.Condition(self)
        return self._condition.wait(timeout)

    def notify_all(self) -> None:
        """Wake all waiting threads; the lock is held."""
        if self._condition is not None:
            self._condition.notify_all()


class CallFuture(Future[R]):
    """The future of a call.

    The future counts as running from the moment its call is sent to a core, which happens a few
    milliseconds ahead; until then it can be cancelled.
    """

    _runtime: Withdrawing
    _token: ForwardingToken[Any] | None = None

    if _SLIM:

        def __init__(self) -> None:
            # All that the standard one does, and not through it: it would make its condition.
            self._condition: Any = Meeting()
            self._state: str = PENDING
            self._result: Any = None
            self._exception: BaseException | None = None
            self._waiters: list[Any] = []
            self._done_callbacks: list[Any] = []

    def cancel(self) -> bool:
        """Cancel the call, unless the call was sent to a core already.

        Returns:
            Whether the call is cancelled. The function is then not called.
        """
        token = self._token
        if token is not None and not self.done() and self._runtime.withdraw_token(token):
            super().cancel()
            self.set_running_or_notify_cancel()  # as whoever runs the calls does, for wait()
        return self.cancelled()

    def kill(self, reason: str) -> None:
        """End the call, running or not: the future raises `TokenKilled`.

        A function that runs is interrupted. (`cancel` leaves alone what was sent to a core, as a
        standard future does.)

        Args:
            reason: The reason, for the error.
        """
        token = self._token
        if token is not None and not self.done():
            self._runtime.kill_token(token, reason)

    def running(self) -> bool:
        """Whether the call was sent to a core and has not ended."""
        token = self._token
        return token is not None and not self.done() and token.stage is TokenState.ADMITTED
