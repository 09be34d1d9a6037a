"""Tokens that wait for their next run until a pause is over."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

from tokengate_mp.scheduling.model.ticket import Ticket


class Postponed:
    """Postponed tokens, in the order in which their pauses end."""

    __slots__ = ("_due", "_tickets")

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._due: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, number: int) -> bool:
        return number in self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._tickets.values())

    def hold_until(self, until: int, ticket: Ticket) -> None:
        """Hold a token until a time, ns."""
        self._tickets[ticket.number] = ticket
        heappush(self._due, (until, ticket.number))

    def drop(self, ticket: Ticket) -> bool:
        """Take out a token that has ended; False if not postponed."""
        return self._tickets.pop(ticket.number, None) is not None

    def next_due(self) -> int | None:
        """When the next pause is over, ns; None if no token is postponed."""
        while self._due and self._due[0][1] not in self._tickets:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def take_due(self, now: int) -> list[Ticket]:
        """Take the tokens whose pause is over at `now`, ns."""
        taken: list[Ticket] = []
        while (due := self.next_due()) is not None and due <= now:
            taken.append(self._tickets.pop(heappop(self._due)[1]))
        return taken
