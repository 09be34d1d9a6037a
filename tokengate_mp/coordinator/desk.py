"""The desk: where tokens are ended before their time.

A token that waits is simply taken out of its lane. One that a core holds ends at once too, as far
as the caller is concerned; its core is told, which interrupts the function or never begins it. A
function that does not heed an interruption (it is stuck in C code, or catches everything) goes with
its process after `grace` seconds, and the process is replaced as if it had died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from tokengate_mp.coordinator.domain import Incarnation
from tokengate_mp.coordinator.host import Host
from tokengate_mp.coordinator.supervisor import Supervisor
from tokengate_mp.errors import TokenKilled
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.token import Token

_log = logging.getLogger(__name__)


class Turns(Protocol):
    """The corridor, as far as ending tokens needs its turns."""

    def request_turn(self) -> None:
        """Take a turn when the loop runs again."""


class ControlDesk:
    """Ends tokens, and sees to it that their functions end too.

    Args:
        host: The coordinator's loop and thread.
        scheduler: Which tokens there are.
        supervisor: Which processes run them.
        turns: Asked for a turn when something has changed.
        grace: Seconds that a function has to end after it was interrupted.

    Attributes:
        closed: Set when every token has been ended.
    """

    def __init__(
        self, host: Host, scheduler: Scheduler, supervisor: Supervisor, turns: Turns, grace: float
    ) -> None:
        self.closed = False
        self._host = host
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._turns = turns
        self._grace = grace
        self._timers: dict[int, asyncio.TimerHandle] = {}

    # ---- for tokens (see `token.Desk`); from any thread

    def kill(self, token: Token[Any], reason: str) -> bool:
        """End a token; False if it had ended already."""
        return self._host.call(lambda: self._kill(token, reason))

    def cancelled(self, token: Token[Any]) -> None:
        """A token's future was cancelled: take note of it, in the right thread."""
        if self._host.is_here:
            self._end(token)
        else:
            self._host.post(lambda: self._end(token))

    def is_running(self, token: Token[Any]) -> bool:
        """Whether a crew thread runs a token now."""
        incarnation = self._supervisor.living.get(token.core or 0)
        return incarnation is not None and token.number in incarnation.running()

    # ---- in the coordinator's thread

    def _kill(self, token: Token[Any], reason: str) -> bool:
        if not self._end(token):
            return False
        token.deliver_error(TokenKilled(token.token_id, reason))
        return True

    def _end(self, token: Token[Any]) -> bool:
        """Take a token out of everything as killed; False if it had ended already."""
        before = token.stage
        if self.closed or not self._scheduler.killed(token):
            return False
        if before is TokenState.ADMITTED:
            self.interrupt(token)
        self._turns.request_turn()
        return True

    def interrupt(self, token: Token[Any]) -> None:
        """Have the core that holds an ended token run it no further."""
        incarnation = self._supervisor.living.get(token.core or 0)
        if incarnation is not None:
            self._tell(incarnation, token)

    def _tell(self, incarnation: Incarnation, token: Token[Any]) -> None:
        number = token.number
        began = number in incarnation.running()
        incarnation.end(number)

        def look_again() -> None:
            del self._timers[number]
            if incarnation.launched.process.returncode is not None:
                return
            if number not in incarnation.running():
                return
            if not began:  # it had the core's ear before it began, and has begun all the same
                self._tell(incarnation, token)
                return
            _log.warning(
                "core %d: %r has not ended %g s after it was interrupted; its process is ended",
                incarnation.core,
                token,
                self._grace,
            )
            self._supervisor.condemn(incarnation)

        self._timers[number] = self._host.loop.call_later(self._grace, look_again)

    def close(self, error: Callable[[Token[Any]], BaseException]) -> None:
        """End every token with `error(token)`; no core is told, since they all end."""
        self.closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for ticket in self._scheduler.unended():
            assert isinstance(ticket, Token), f"{ticket!r} is not a token"
            self._scheduler.killed(ticket)
            try:
                ticket.deliver_error(error(ticket))
            except RuntimeError:
                # The loop was closed before us, so nobody is left whom a callback could tell.
                _log.debug("%r: its loop is closed", ticket)
