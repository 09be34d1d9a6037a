"""The control: where tokens are ended before their time.

A token that waits is simply taken out of its lane. One that a core holds ends at once too, as far
as the caller is concerned; its core is told, which interrupts the function or never begins it. A
function that does not heed an interruption (it is stuck in C code, or catches everything) goes with
its process after `grace` seconds, and the process is replaced as if it had died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.supervisor import Supervisor
from tokengate_mp.engine.admission import Admission
from tokengate_mp.errors import TokenKilled, TokenTimeout
from tokengate_mp.loops.host import Host
from tokengate_mp.loops.timers import Timer
from tokengate_mp.observe.history import HISTORY, History
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.token import Token

_log = logging.getLogger(__name__)


class Turns(Protocol):
    """The engine, as far as ending and pausing tokens needs it."""

    def request_turn(self) -> None:
        """Take a turn when the loop runs again."""

    def take_in(self) -> None:
        """Tell the scheduler of all calls that have been made."""


class TokenControl:
    """Ends tokens, and sees to it that their functions end too.

    Args:
        host: The coordinator's loop and thread.
        scheduler: Which tokens there are.
        supervisor: Which processes run them.
        turns: Asked for a turn when something has changed.
        admission: Has room again for each token that ends.
        grace: Seconds that a function has to end after it was interrupted.

    Attributes:
        closed: Set when every token has been ended.
        history: What became of the latest tokens.
        forsaken: Told of a token that was ended while a core held it, or lost with that.
    """

    def __init__(  # noqa: PLR0913 - everything that ending a token touches
        self,
        host: Host,
        scheduler: Scheduler,
        supervisor: Supervisor,
        turns: Turns,
        admission: Admission,
        *,
        grace: float,
    ) -> None:
        self.closed = False
        self.history = History()
        self.forsaken: Callable[[Token[Any]], object] = bool  # nothing, until there are chains
        self._host = host
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._turns = turns
        self._admission = admission
        self._grace = grace
        self._timers: dict[int, Timer] = {}

    # ---- for tokens (see `token.TokenController`); from any thread

    def kill(self, token: Token[Any], reason: str) -> bool:
        """End a token; False if it had ended already."""
        return self._host.call(lambda: self._kill(token, reason))

    def cancelled(self, token: Token[Any]) -> None:
        """A token's future was cancelled: take note of it, in the right thread."""

        def note() -> None:
            if self._end(token):
                self._admission.release(token)
                self.history.ended(token, asyncio.CancelledError())

        if self._host.is_here:
            note()
        else:
            self._host.post(note)

    def is_running(self, token: Token[Any]) -> bool:
        """Whether a crew thread runs a token now."""
        incarnation = self._holder(token)
        return incarnation is not None and incarnation.runs(token.number)

    # ---- for users, by way of the coordinator; in its thread

    def kill_by_id(self, token_id: str, reason: str) -> bool:
        """End the token with this id; False if there is none that has not ended."""
        self._turns.take_in()
        number = Token.number_of(token_id)
        ticket = None if number is None else self._scheduler.accounts.find(number)
        return ticket is not None and self._kill(cast("Token[Any]", ticket), reason)

    def kill_all(self, operation: str, reason: str) -> int:
        """End all tokens of an operation; how many there were."""
        self._turns.take_in()
        unended = tokens_of(self._scheduler.accounts.unended())
        return self._kill_each([t for t in unended if t.operation_type == operation], reason)

    def drain(self, operation: str | None, reason: str) -> int:
        """End the waiting tokens, all or those of one operation; how many there were."""
        self._turns.take_in()
        return self._kill_each(
            tokens_of(self._scheduler.accounts.waiting_tickets(operation)), reason
        )

    def pause_admission(self, *, paused: bool) -> None:
        """Send no token to any core for as long as this is set."""
        if paused:
            self._scheduler.pause_admission()
        else:
            self._scheduler.resume_admission()
        self._turns.request_turn()

    def pause_operation(self, operation: str, *, paused: bool) -> None:
        """Send no token of this operation to any core for as long as this is set."""
        self._turns.take_in()
        if paused:
            self._scheduler.pause(operation)
        else:
            self._scheduler.resume(operation)
        self._turns.request_turn()

    # ---- in the coordinator's thread

    def _kill(self, token: Token[Any], reason: str) -> bool:
        if not self._end(token):
            return False
        self.deliver_error(token, TokenKilled(token.token_id, reason))
        return True

    def _kill_each(self, tokens: list[Token[Any]], reason: str) -> int:
        """End tokens; how many of them had not ended already."""
        killed: list[tuple[Token[Any], TokenKilled]] = []
        for token in tokens:
            if self._end(token):
                error = TokenKilled(token.token_id, reason)
                self._tell_awaiting(token, error)
                killed.append((token, error))
        for token, error in killed[-HISTORY:]:  # of more than these nothing would be left
            self.history.ended(token, error)
        return len(killed)

    def deliver_error(self, token: Token[Any], error: BaseException) -> None:
        """A token has ended in an error: who awaits it gets that."""
        self._tell_awaiting(token, error)
        self.history.ended(token, error)

    def _tell_awaiting(self, token: Token[Any], error: BaseException) -> None:
        token.deliver_error(error)
        self._admission.release(token)

    def _end(self, token: Token[Any]) -> bool:
        """Take a token out of everything as killed; False if it had ended already."""
        if self.closed or not self._scheduler.killed(token):
            return False
        self.interrupt(token)
        self._turns.request_turn()
        return True

    def time_is_up(self, token: Token[Any]) -> None:
        """A token's time is up; the scheduler has ended it."""
        policy = token.operation.policy
        assert policy is not None
        assert policy.timeout_ns is not None, f"{token!r} has no time limit"
        seconds = policy.timeout_ns / 1e9
        self.deliver_error(token, TokenTimeout(token.token_id, token.operation_type, seconds))
        self.interrupt(token)

    def interrupt(self, token: Token[Any]) -> None:
        """Have the core that holds an ended token, if one does, run it no further."""
        incarnation = self._holder(token)
        if incarnation is not None:
            self._tell(incarnation, token)
            self.forsaken(token)

    def _holder(self, token: Token[Any]) -> Incarnation | None:
        """The process that was sent a token and has not answered for it."""
        return self._supervisor.living.get(self._scheduler.accounts.seat_of(token))

    def _tell(self, incarnation: Incarnation, token: Token[Any]) -> None:
        began = incarnation.runs(token.number)
        incarnation.end(token.number)
        self._look_later(incarnation, token, began=began)

    def _look_later(self, incarnation: Incarnation, token: Token[Any], *, began: bool) -> None:
        self._timers[token.number] = Timer(
            self._host.loop, lambda: self._look_again(incarnation, token, began=began)
        ).run_within(self._grace)

    def _look_again(self, incarnation: Incarnation, token: Token[Any], *, began: bool) -> None:
        """The core has had its grace: has it done with the token?"""
        number = token.number
        del self._timers[number]
        core = incarnation.core
        gone = self._supervisor.living.get(incarnation.seat) is not incarnation
        accounts, seat = self._scheduler.accounts, incarnation.seat
        if gone or accounts.held_ticket(seat, number) is None:
            return
        # (A thread that was stopped just after it published names a token that has been settled.)
        running = [t.number for t in accounts.held_among(seat, incarnation.running())]
        if number not in running and running:
            # It lies behind another one, and is dropped when its turn comes.
            self._look_later(incarnation, token, began=began)
        elif number in running and not began:
            # It began just when the core was told, or the telling got lost in a flood.
            self._tell(incarnation, token)
        else:
            # It does not heed the interruption. Or, with nothing running, nobody is there to take
            # it: the process was stopped.
            _log.warning(
                "core %d: %r has not ended %g s after it was interrupted; its process is ended",
                core,
                token,
                self._grace,
            )
            incarnation.condemned = (
                f"{token.operation_type!r} ({token.token_id}) had not ended {self._grace:g} s "
                "after it was interrupted"
            )
            incarnation.fruitful = True  # it is not at fault
            self._supervisor.condemn(incarnation)

    def close(self, error: Callable[[Token[Any]], BaseException]) -> None:
        """End every token with `error(token)`; no core is told, since they all end."""
        self.closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
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
