"""Deadlines of tokens: who is due, and when the next one is.

Only tokens that have one are in here. One that ends before is let go of when it comes up, or when
those that have ended are likely the larger part, whichever is first.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from tokengate_mp.scheduling.model.ticket import Ticket

_SMALL = 1024
"""So many entries are never worth looking through."""


class Deadlines:
    """Tokens by the time at which theirs is up, ns."""

    __slots__ = ("_heap", "_limit")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Ticket]] = []
        self._limit = _SMALL

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, ticket: Ticket, at: int) -> None:
        """A token that has not ended by `at` is due then."""
        if len(self._heap) >= self._limit:
            self._heap = [entry for entry in self._heap if not entry[2].stage.ended]
            heapify(self._heap)
            self._limit = max(_SMALL, 2 * len(self._heap))
        heappush(self._heap, (at, ticket.number, ticket))

    def due(self, now: int) -> list[Ticket]:
        """Take out those whose time is up and that have not ended."""
        tickets: list[Ticket] = []
        while self._heap and self._heap[0][0] <= now:
            ticket = heappop(self._heap)[2]
            if not ticket.stage.ended:
                tickets.append(ticket)
        return tickets

    def next(self) -> int | None:
        """When the next one is due, ns; None if none is."""
        while self._heap and self._heap[0][2].stage.ended:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
