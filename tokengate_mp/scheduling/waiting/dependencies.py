"""Dependencies: which tokens wait for which others to end.

There is no cycle: a token can depend only on such as there were before it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokengate_mp.scheduling.model.ticket import Ticket


class Dependencies:
    """The unmet dependencies of tokens that wait for others.

    Attributes:
        dependents: By the number of a token that has not ended: each token that depends on it, with
            the place of the dependency among that one's own. (Some may have ended meanwhile.)
        ended: Tokens that others depend on and that have ended since the last `take_ended`.
        missing: By the number of a dependent that waits: how many dependencies are not supplied.
    """

    __slots__ = ("dependents", "ended", "missing")

    def __init__(self) -> None:
        self.dependents: dict[int, list[tuple[Ticket, int]]] = {}
        self.ended: list[Ticket] = []
        self.missing: dict[int, int] = {}

    def add_dependent(self, ticket: Ticket, dependencies: Iterable[tuple[int, int]]) -> None:
        """Remember on which tokens, none of which has ended, a token depends.

        Args:
            ticket: The dependent.
            dependencies: Their numbers, each with its place among the dependent's dependencies.
        """
        missing = 0
        for number, at in dependencies:
            self.dependents.setdefault(number, []).append((ticket, at))
            missing += 1
        self.missing[ticket.number] = missing

    def forget_dependent(self, ticket: Ticket) -> None:
        """Drop the count of a token that waits for no other any more."""
        self.missing.pop(ticket.number, None)

    def collect_ended(self, tickets: Iterable[Ticket]) -> None:
        """Find the ended tokens among `tickets` that have dependents."""
        for ticket in tickets:
            if ticket.stage.ended:
                self.missing.pop(ticket.number, None)
                if ticket.number in self.dependents:
                    self.ended.append(ticket)

    def take_ended(self) -> list[tuple[Ticket, list[tuple[Ticket, int]]]]:
        """Take the tokens that have ended since the last time, each with its dependents."""
        ended, self.ended = self.ended, []
        taken = []
        for ticket in ended:
            dependents = self.dependents.pop(ticket.number, None)
            if dependents is not None:  # else it was collected twice
                taken.append((ticket, dependents))
        return taken

    def supply(self, ticket: Ticket) -> bool:
        """Count a dependency of a token as met; True if that was the last."""
        self.missing[ticket.number] -= 1
        return not self.missing[ticket.number]
