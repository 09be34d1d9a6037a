"""Withdrawals: tokens that are taken back by their callers until they are sent to a core.

Whether a token is sent or withdrawn is decided under one lock: whoever was told that a call is
cancelled can rely on that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from tokengate_mp.engine.control import TokenControl
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.locks import new_lock
from tokengate_mp.scheduling.accounts import Accounts
from tokengate_mp.tokens.forwarding import ForwardingToken

UNSENT: Final = (TokenState.CREATED, TokenState.WAITING)
"""The states of tokens that no core has been sent."""


class Withdrawals:
    """Tokens of other threads that were withdrawn, until the next turn; and calls that are ended.

    Args:
        control: Ends tokens.
        accounts: Has the tokens that have not ended.
        take_in: Tells the scheduler of all calls that have been made.
        request_turn: Thread-safe request for a turn.

    Attributes:
        withdrawn: Tokens that were withdrawn and are not ended.
        sending: Held while tokens are sent. Reentrant: a callback of a token that no core is left
            for may withdraw others.
    """

    __slots__ = ("_accounts", "_control", "_request_turn", "_take_in", "sending", "withdrawn")

    def __init__(
        self,
        control: TokenControl,
        accounts: Accounts,
        take_in: Callable[[], object],
        request_turn: Callable[[], object],
    ) -> None:
        self._control = control
        self._accounts = accounts
        self._take_in = take_in
        self._request_turn = request_turn
        self.withdrawn: deque[ForwardingToken[Any]] = deque()
        self.sending = new_lock()

    def retract_token(self, token: ForwardingToken[Any]) -> bool:
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

    def end_withdrawn(self) -> None:
        """End the tokens that were withdrawn; in the engine's thread, with `sending` held."""
        while self.withdrawn:
            self._control.token_cancelled(self.withdrawn.popleft())

    def kill_call(self, token: ForwardingToken[Any], reason: str) -> None:
        """End a token, even while its function runs; in the engine's thread."""
        self._take_in()
        self._control.kill(token, reason)

    def cancel_unsent(self) -> None:
        """Cancel every call that was not sent to a core; in the engine's thread."""
        with self.sending:
            self._take_in()
            unsent = [token for token in self._accounts.unended() if token.stage in UNSENT]
        for token in unsent:
            recipient = token.recipient if isinstance(token, ForwardingToken) else None
            if recipient is not None:
                recipient.cancel()
