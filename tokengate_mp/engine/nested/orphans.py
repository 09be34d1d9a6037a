"""Orphans: tokens that nobody wants any more, because the token is gone that wanted them.

One that was ended from outside, or lost with its process, takes along what it alone waits for, what
these wait for in turn, and what it has made and nobody else can see. A recursion without an end
would otherwise go on without whoever began it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tokengate_mp.engine.nested.waits import Waits
from tokengate_mp.engine.peers import Peer, Peers
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.nested import NestedToken
from tokengate_mp.tokens.token import Token


class Orphans:
    """Ends them.

    Args:
        scheduler: Who holds what.
        peers: The peer on each seat.
        waits: Who waits for whom.
        known: The tokens that were made inside tokens, by number.
        needed: Numbers of tokens that others need as arguments.
        kill: Ends a token.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that can want a token
        self,
        scheduler: Scheduler,
        peers: Peers,
        waits: Waits,
        known: Mapping[int, NestedToken],
        needed: Collection[int],
        kill: Callable[[Token[Any], str], object],
    ) -> None:
        self._scheduler = scheduler
        self._peers = peers
        self._waits = waits
        self._known = known
        self._needed = needed
        self._kill = kill
        self._forsaking: deque[Ticket] = deque()

    def forsake(self, waiter: Ticket) -> None:
        """A token was ended: those end with it that it alone waits for, and nobody else can see."""
        self._forsaking.append(waiter)
        if len(self._forsaking) > 1:
            return  # it ended in the loop below
        while self._forsaking:
            for token in self._only_for(self._forsaking[0]):
                self._end(token, "the token that waited for it was ended")
            self._forsaking.popleft()

    def waits_late(self, peer: Peer, waiter: int) -> None:
        """A token was found to wait for another one: if it had just been ended, that ends too."""
        ticket = self._scheduler.accounts.held_ticket(peer.seat, waiter)
        if ticket is not None and ticket.stage.ended:
            self.forsake(ticket)

    def dropped(self, token: NestedToken) -> None:
        """A process refers to a token no more, since the one that did there was ended."""
        if not token.keepers:
            self._end(token, "the token that made it was ended")

    def _end(self, token: NestedToken, why: str) -> None:
        """End a token, unless the caller has got it, or can, or another call needs its value."""
        seen = token.shown or token.passed_on
        if not (seen or token.stage.ended or token.number in self._needed):
            self._kill(token, why)

    def _only_for(self, waiter: Ticket) -> list[NestedToken]:
        """The tokens that this one waits for, and nobody else does. It waits no more then."""
        tokens = self._waits.alone(waiter.number)
        self._waits.gone(waiter.number)
        holder = self._peers.get(self._scheduler.accounts.seat_of(waiter))
        above = None if holder is None else self._known.get(holder.on_top.get(waiter.number, 0))
        if above is not None and not self._waits.has_other(above.number, waiter.number):
            tokens.append(above)  # which it may never have claimed
        return tokens
