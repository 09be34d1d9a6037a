"""Control: where tokens are ended before their time, and held back.

A token that waits is simply taken out of its lane. One that a core holds ends at once too, as far
as the caller is concerned; what becomes of its function is `interruption`'s affair.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.delivery import deliver_error
from tokengate_mp.engine.interruption import Interruption
from tokengate_mp.errors import TokenKilled, TokenTimeout
from tokengate_mp.loops.host import Host
from tokengate_mp.observe.history import HISTORY, History
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.token import Token

_log = logging.getLogger(__name__)


class TokenControl:
    """Ends tokens before their time, and holds tokens back.

    Args:
        host: The engine's loop and thread.
        scheduler: Knows the tokens.
        interruption: Ends the functions of tokens that were ended.
        admission: Has room again for each token that ends.
        history: Remembers ended tokens.
        request_turn: Asks for a turn; in the loop's thread.
        take_in: Tells the scheduler of all calls that have been made.

    Attributes:
        closed: Set when every token has been ended.
        forsaken: Told of a token that was ended while a core held it, or lost with that.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - everything that ending a token touches
        self,
        host: Host,
        scheduler: Scheduler,
        interruption: Interruption,
        admission: Admission,
        history: History,
        request_turn: Callable[[], object],
        take_in: Callable[[], object],
    ) -> None:
        self.closed = False
        self.forsaken: Callable[[Token[Any]], object] = bool  # until nested tokens are there
        self._host = host
        self._scheduler = scheduler
        self._interruption = interruption
        self._admission = admission
        self._history = history
        self._request_turn = request_turn
        self._take_in = take_in

    # ---- for tokens (see `tokens.token.TokenController`); from any thread

    def kill(self, token: Token[Any], reason: str) -> bool:
        """End a token; False if the token had ended already."""
        return self._host.call(lambda: self._kill(token, reason))

    def token_cancelled(self, token: Token[Any]) -> None:
        """End a token whose future was cancelled, in the right thread."""

        def end() -> None:
            if self._end(token):
                self._admission.release(token)
                self._history.note_error(token, asyncio.CancelledError())

        if self._host.is_here:
            end()
        else:
            self._host.post(end)

    def is_running(self, token: Token[Any]) -> bool:
        """Whether a crew thread runs a token now."""
        peer = self._interruption.holder(token)
        return peer is not None and peer.runs(token.number)

    # ---- for users, by way of the control port; in the loop's thread

    def kill_by_id(self, token_id: str, reason: str) -> bool:
        """End the token with an id; False if no unended token has that id."""
        self._take_in()
        number = Token.number_of(token_id)
        ticket = None if number is None else self._scheduler.accounts.find(number)
        return ticket is not None and self._kill(cast("Token[Any]", ticket), reason)

    def kill_all(self, operation: str, reason: str) -> int:
        """End all tokens of an operation; how many there were."""
        self._take_in()
        unended = tokens_of(self._scheduler.accounts.unended())
        return self._kill_each([t for t in unended if t.operation_type == operation], reason)

    def drain(self, operation: str | None, reason: str) -> int:
        """End all waiting tokens, or an operation's; how many there were."""
        self._take_in()
        return self._kill_each(
            tokens_of(self._scheduler.accounts.waiting_tickets(operation)), reason
        )

    def pause_admission(self, *, paused: bool) -> None:
        """Send no token to any core while paused."""
        if paused:
            self._scheduler.pause_admission()
        else:
            self._scheduler.resume_admission()
        self._request_turn()

    def pause_operation(self, operation: str, *, paused: bool) -> None:
        """Send no token of an operation to any core while paused."""
        self._take_in()
        if paused:
            self._scheduler.pause(operation)
        else:
            self._scheduler.resume(operation)
        self._request_turn()

    # ---- in the loop's thread

    def _kill(self, token: Token[Any], reason: str) -> bool:
        if not self._end(token):
            return False
        self.deliver_error(token, TokenKilled(token.token_id, reason))
        return True

    def _kill_each(self, tokens: list[Token[Any]], reason: str) -> int:
        """End tokens; how many had not ended already."""
        killed: list[tuple[Token[Any], TokenKilled]] = []
        for token in tokens:
            if self._end(token):
                error = TokenKilled(token.token_id, reason)
                self._deliver(token, error)
                killed.append((token, error))
        for token, error in killed[-HISTORY:]:  # of more than these nothing would be left
            self._history.note_error(token, error)
        return len(killed)

    def deliver_error(self, token: Token[Any], error: BaseException) -> None:
        """Deliver the error of a token that the scheduler has ended."""
        self._deliver(token, error)
        self._history.note_error(token, error)

    def _deliver(self, token: Token[Any], error: BaseException) -> None:
        deliver_error(token, error)
        self._admission.release(token)

    def _end(self, token: Token[Any]) -> bool:
        """Take a token out of everything as killed; False if the token had ended already."""
        if self.closed or not self._scheduler.killed(token):
            return False
        self._interrupt(token)
        self._request_turn()
        return True

    def time_is_up(self, token: Token[Any]) -> None:
        """Deliver the timeout of a token that the scheduler has ended, and interrupt its run."""
        policy = token.operation.policy
        assert policy is not None
        assert policy.timeout_ns is not None, f"{token!r} has no time limit"
        seconds = policy.timeout_ns / 1e9
        self.deliver_error(token, TokenTimeout(token.token_id, token.operation_type, seconds))
        self._interrupt(token)

    def _interrupt(self, token: Token[Any]) -> None:
        if self._interruption.interrupt_token(token):
            self.forsaken(token)

    def close(self, error: Callable[[Token[Any]], BaseException]) -> None:
        """End every token with `error(token)`; no core is told, since all cores end."""
        self.closed = True
        self._interruption.cancel()
        for token in tokens_of(self._scheduler.accounts.unended()):
            self._scheduler.killed(token)
            try:
                self.deliver_error(token, error(token))
            except RuntimeError:
                # The loop was closed before us, so nobody is left whom a callback could tell.
                _log.debug("%r: its loop is closed", token)


def tokens_of(tickets: list[Ticket]) -> list[Token[Any]]:
    """The tickets that the scheduler was given here are tokens."""
    return cast("list[Token[Any]]", tickets)
