"""Deadlines of tokens.

Only tokens that have a deadline are in here. The entry of a token that ends before is dropped when
it comes up, or when entries of ended tokens are likely the larger part, whichever is first.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from tokengate_mp.scheduling.model.ticket import Ticket

_SMALL = 1024
"""Up to this many entries are never looked through for ended tokens."""


class Deadlines:
    """Tokens by the time at which each is overdue, ns."""

    __slots__ = ("_heap", "_limit")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Ticket]] = []
        self._limit = _SMALL

    def __len__(self) -> int:
        return len(self._heap)

    def add_deadline(self, at: int, ticket: Ticket) -> None:
        """Give a token until `at`, ns, to end."""
        if len(self._heap) >= self._limit:
            self._heap = [entry for entry in self._heap if not entry[2].stage.ended]
            heapify(self._heap)
            self._limit = max(_SMALL, 2 * len(self._heap))
        heappush(self._heap, (at, ticket.number, ticket))

    def add_deadlines_of(self, tickets: Iterable[Ticket]) -> None:
        """Give each new token the time that the policy of its operation allows, if any."""
        for ticket in tickets:
            policy = ticket.operation.policy
            if policy is not None and policy.timeout_ns is not None:
                self.add_deadline(ticket.created + policy.timeout_ns, ticket)

    def take_overdue(self, now: int) -> list[Ticket]:
        """Take out the tokens whose time is up at `now` and that have not ended."""
        tickets: list[Ticket] = []
        while self._heap and self._heap[0][0] <= now:
            ticket = heappop(self._heap)[2]
            if not ticket.stage.ended:
                tickets.append(ticket)
        return tickets

    def next_deadline(self) -> int | None:
        """When the next token is due, ns; None if none is."""
        while self._heap and self._heap[0][2].stage.ended:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None
