"""What `submit` returns: a standard future, of which the engine knows."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.token import ForwardingToken

R = TypeVar("R")


class Withdrawing(Protocol):
    """What a future needs of its engine."""

    def withdraw(self, token: ForwardingToken[Any]) -> bool:
        """Never begin a token; False if it was sent to a core, or is withdrawn already."""


class CallFuture(Future[R]):
    """The future of one call.

    It counts as running from the moment its call is sent to a core, which happens a few
    milliseconds ahead; until then it can be cancelled.
    """

    _engine: Withdrawing
    _token: ForwardingToken[Any] | None = None

    def cancel(self) -> bool:
        """Cancel the call, unless it was sent to a core already.

        Returns:
            Whether it is cancelled. The function is then not called.
        """
        token = self._token
        if token is not None and not self.done() and self._engine.withdraw(token):
            super().cancel()
            self.set_running_or_notify_cancel()  # as whoever runs the calls does, for wait()
        return self.cancelled()

    def running(self) -> bool:
        """Whether the call was sent to a core and has not ended."""
        token = self._token
        return token is not None and not self.done() and token.stage is TokenState.ADMITTED
