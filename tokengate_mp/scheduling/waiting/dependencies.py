"""Which tokens wait for which others to end, and how many each still waits for.

There is no cycle: a token can need only such as there were before it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokengate_mp.scheduling.model.ticket import Ticket


class Dependencies:
    """The needs of tokens that have not got what they need.

    Attributes:
        needed: By number, those that are needed and have not ended: who needs each, and as which of
            its needs. (Dependents that have ended meanwhile are among them.)
        ended: Those that were needed and have ended since they were last asked for.
        lacking: By number, how many needs each waiting dependent still has.
    """

    __slots__ = ("ended", "lacking", "needed")

    def __init__(self) -> None:
        self.needed: dict[int, list[tuple[Ticket, int]]] = {}
        self.ended: list[Ticket] = []
        self.lacking: dict[int, int] = {}

    def add(self, ticket: Ticket, needs: Iterable[tuple[int, int]]) -> None:
        """A token needs others, which have not ended.

        Args:
            ticket: The token.
            needs: Their numbers, each with which of its needs it is.
        """
        lacking = 0
        for number, at in needs:
            self.needed.setdefault(number, []).append((ticket, at))
            lacking += 1
        self.lacking[ticket.number] = lacking

    def note(self, tickets: Iterable[Ticket]) -> None:
        """Tokens may have ended."""
        for ticket in tickets:
            if ticket.stage.ended:
                self.lacking.pop(ticket.number, None)
                if ticket.number in self.needed:
                    self.ended.append(ticket)

    def take_ended(self) -> list[tuple[Ticket, list[tuple[Ticket, int]]]]:
        """Those that were needed and have ended since the last time, each with who needed it."""
        ended, self.ended = self.ended, []
        taken = []
        for ticket in ended:
            dependents = self.needed.pop(ticket.number, None)
            if dependents is not None:  # else it was noted twice
                taken.append((ticket, dependents))
        return taken

    def supplied(self, ticket: Ticket) -> bool:
        """A token got one of its needs; whether it has all of them now."""
        self.lacking[ticket.number] -= 1
        return not self.lacking[ticket.number]
