"""Withdrawals: tokens that are taken back by their callers until they are sent to a core.

Whether a token is sent or withdrawn is decided under one lock: whoever was told that a call is
cancelled can rely on that.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.tokens.forwarding import ForwardingToken

UNSENT: Final = (TokenState.CREATED, TokenState.WAITING)
"""The states of tokens that no core has been sent."""


class Withdrawals:
    """Tokens of other threads that were withdrawn, until the next turn.

    Args:
        request_turn: Thread-safe request for a turn.

    Attributes:
        withdrawn: Tokens that were withdrawn and are not ended.
        sending: Held while tokens are sent. Reentrant: a callback of a token that no core is left
            for may withdraw others.
    """

    __slots__ = ("_request_turn", "sending", "withdrawn")

    def __init__(self, request_turn: Callable[[], object]) -> None:
        self._request_turn = request_turn
        self.withdrawn: deque[ForwardingToken[Any]] = deque()
        self.sending = threading.RLock()

    def retract(self, token: ForwardingToken[Any]) -> bool:
        """Never begin a token; from any thread.

        Returns:
            False if the token was sent to a core, or is withdrawn already.
        """
        with self.sending:
            if token.stage not in UNSENT or token.recipient is None:
                return False
            token.recipient = None
            self.withdrawn.append(token)
        self._request_turn()
        return True

    def end_withdrawn(self, end: Callable[[ForwardingToken[Any]], object]) -> None:
        """End the tokens that were withdrawn; `sending` is held."""
        while self.withdrawn:
            end(self.withdrawn.popleft())
