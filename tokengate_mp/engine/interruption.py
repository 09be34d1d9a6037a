"""Interruption: the function of a token that was ended does not go on.

The core that holds the token is told, which interrupts the function or never begins it. A function
that does not heed an interruption (it is stuck in C code, or catches everything) goes with its
process after `grace` seconds, and the process is replaced as if it had died.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from tokengate_mp.engine.peers import Peer, Peers
from tokengate_mp.loops.timers import Timer
from tokengate_mp.ports import CoreBackend
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.token import Token

_log = logging.getLogger(__name__)


class Interruption:
    """Interrupts tokens that were ended, and condemns processes that do not heed that.

    Args:
        loop: The engine's loop; everything happens in its thread.
        scheduler: Knows which seat holds a token.
        backend: Ends processes.
        peers: The peer on each seat.
        grace: Seconds that a function has to end after it was interrupted.
    """

    __slots__ = ("_backend", "_grace", "_loop", "_peers", "_scheduler", "_timers")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scheduler: Scheduler,
        backend: CoreBackend,
        peers: Peers,
        *,
        grace: float,
    ) -> None:
        self._loop = loop
        self._scheduler = scheduler
        self._backend = backend
        self._peers = peers
        self._grace = grace
        self._timers: dict[int, Timer] = {}

    def holder(self, token: Token[Any]) -> Peer | None:
        """The peer that holds a token; None if no core does."""
        return self._peers.get(self._scheduler.accounts.seat_of(token))

    def interrupt_token(self, token: Token[Any]) -> bool:
        """Interrupt the run of an ended token in the core that holds the token.

        Returns:
            Whether a core holds it.
        """
        peer = self.holder(token)
        if peer is None:
            return False
        self._interrupt(peer, token)
        return True

    def _interrupt(self, peer: Peer, token: Token[Any]) -> None:
        began = peer.runs(token.number)
        peer.link.interrupt(token.number)
        self._check_later(peer, token, began=began)

    def _check_later(self, peer: Peer, token: Token[Any], *, began: bool) -> None:
        self._timers[token.number] = Timer(
            self._loop, lambda: self._check(peer, token, began=began)
        ).run_within(self._grace)

    def _check(self, peer: Peer, token: Token[Any], *, began: bool) -> None:
        """See, after the grace, whether the core has done with the token."""
        number = token.number
        del self._timers[number]
        if self._backend.links.get(peer.seat) is not peer.link:
            return
        accounts = self._scheduler.accounts
        if accounts.held_ticket(peer.seat, number) is None:
            return
        # (A thread that was stopped just after it published names a token that has been settled.)
        held = accounts.held_among(peer.seat, peer.running())
        running = [t.number for t in held]
        exclusive = [t.number for t in held if t.operation.exclusive]
        if (number not in running and running) or _is_held_up(peer, number, exclusive):
            # It lies behind another one, and is dropped when its turn comes.
            self._check_later(peer, token, began=began)
        elif number in running and not began:
            # It began just when the core was told, or the telling got lost in a flood.
            self._interrupt(peer, token)
        else:
            # It does not heed the interruption. Or, with nothing running, nobody is there to take
            # it: the process was stopped.
            _log.warning(
                "core %d: %r has not ended %g s after it was interrupted; its process is ended",
                peer.core,
                token,
                self._grace,
            )
            peer.excused = True  # the process is not at fault
            self._backend.condemn(
                peer.link,
                f"{token.operation_type!r} ({token.token_id}) had not ended {self._grace:g} s "
                "after it was interrupted",
            )

    def cancel(self) -> None:
        """Check no token any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


def _is_held_up(peer: Peer, number: int, exclusive: Iterable[int]) -> bool:
    """Whether a token that has begun cannot go on before an exclusive one in its process has ended.

    Args:
        peer: The peer of the process.
        number: The token.
        exclusive: The exclusive tokens that have begun in the process.
    """
    for other in exclusive:
        above = other
        while above and above != number:
            above = peer.on_top.get(above, 0)
        if not above:  # else it stands on that one, and runs in its place
            return True
    return False
