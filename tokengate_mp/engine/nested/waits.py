"""Who waits for whom: whether a token that a limit holds back would wait for ever.

A limit holds back a token that others wait for, like any other one; but not if no token that the
limit counts can go on before that token has ended. Whether any can is asked of all of them, and of
those that they wait for in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from tokengate_mp.engine.peers import Peer, Peers
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.nested import NestedToken
from tokengate_mp.tokens.token import Token


class _Node(NamedTuple):
    """What a token needs in order to go on: all of these tokens to go on, or any."""

    every: bool
    needs: list[Ticket]


_FREE = _Node(every=True, needs=[])


class Waits:
    """The waits that core processes have told of.

    Args:
        scheduler: Who holds what.
        peers: The peer on each seat.
        call_back: Has a process give back a token that it has not begun.
    """

    __slots__ = ("_call_back", "_peers", "_scheduler", "_waiters", "_waiting")

    def __init__(
        self,
        scheduler: Scheduler,
        peers: Peers,
        call_back: Callable[[Token[Any], Peer], object],
    ) -> None:
        self._scheduler = scheduler
        self._peers = peers
        self._call_back = call_back
        # A token that waits goes by its number; a thread that runs none by minus its core's.
        self._waiting: dict[int, dict[int, NestedToken]] = {}
        self._waiters: dict[int, Counter[int]] = {}

    def note(self, number: int, core: int, token: NestedToken) -> None:
        """A thread waits for a token.

        Args:
            number: The token that the thread runs; 0 if it is a thread of the user's own.
            core: Its core.
            token: What it waits for.
        """
        waiter = number or -core
        self._waiting.setdefault(waiter, {})[token.number] = token
        self._waiters.setdefault(token.number, Counter())[waiter] += 1

    def ended(self, number: int) -> None:
        """A token that was waited for has ended, or nobody is left who waits for it."""
        for waiter in self._waiters.pop(number, ()):
            waiting = self._waiting[waiter]
            del waiting[number]
            if not waiting:
                del self._waiting[waiter]

    def gone(self, waiter: int) -> None:
        """A token was ended that waited: whoever waits beside it may be the only one now."""
        for number in self._waiting.pop(waiter, ()):
            waiters = self._waiters[number]
            del waiters[waiter]
            if not waiters:
                del self._waiters[number]

    def alone(self, number: int) -> list[NestedToken]:
        """The tokens that this one waits for, and nobody else does."""
        mine = self._waiting.get(number, {}).values()
        return [token for token in mine if len(self._waiters[token.number]) == 1]

    def has_other(self, number: int, waiter: int) -> bool:
        """Whether anybody but `waiter` has said to wait for a token."""
        return any(each != waiter for each in self._waiters.get(number, ()))

    def stalled(self, ticket: Ticket) -> bool:
        """Whether a token that its limit holds back would wait for ever, if it were up to that."""
        nodes: dict[int, _Node] = {}
        left: list[Ticket] = [ticket]
        while left:
            each = left.pop()
            if each.number not in nodes:
                node = nodes[each.number] = self._node(each)
                left += node.needs
        going: set[int] = set()
        unsure = list(reversed(nodes.items()))  # what others wait for was found after them
        while True:
            still = []
            for number, (every, needs) in unsure:
                goes = [need.number in going for need in needs]
                if all(goes) if every else any(goes):
                    going.add(number)
                else:
                    still.append((number, nodes[number]))
            if len(still) == len(unsure) or not still:
                return ticket.number not in going
            unsure = still

    def _node(self, ticket: Ticket) -> _Node:
        limit = ticket.operation.limit
        if ticket.stage is TokenState.WAITING and limit is not None and limit.room <= 0:
            return _Node(every=False, needs=self._scheduler.accounts.counted_by(limit))
        peer = self._peers.get(self._scheduler.accounts.seat_of(ticket))
        if ticket.stage is not TokenState.ADMITTED or peer is None:
            return _FREE
        return self._held(ticket, peer)

    def _held(self, ticket: Ticket, peer: Peer) -> _Node:
        core = peer.core
        running = peer.running()
        if ticket.number in running:
            # It may have started the thread of the user's own, and wait for that.
            own, others = self._waiting.get(ticket.number, {}), self._waiting.get(-core, {})
            return _Node(every=True, needs=[*own.values(), *others.values()])
        if not peer.waits():
            return _FREE
        token = cast("Token[Any]", ticket)
        if isinstance(token, NestedToken) and token.chain is not None:
            # It can be run there alone, by a thread that has done with what it runs.
            held = self._scheduler.accounts.held_among(peer.seat, running)
            return _Node(every=False, needs=held)
        self._call_back(token, peer)
        return _FREE
