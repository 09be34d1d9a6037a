"""Tokens that were taken out of a lane before their turn.

To look for a token in its lane would cost as much as there are before it. So the lane keeps the
entry, and counts it as gone. It has to be removed only when the token is to wait again: else that
would wait twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.waiting.lane import Lane


class Taken:
    """The lane of each token that was taken out early, by number."""

    __slots__ = ("lanes",)

    def __init__(self) -> None:
        self.lanes: dict[int, Lane] = {}

    def __bool__(self) -> bool:
        return bool(self.lanes)

    def take_from(self, lane: Lane, ticket: Ticket) -> None:
        """Count a token as gone from its lane; its stage must not be WAITING any more."""
        self.lanes[ticket.number] = lane
        lane.count_off()

    def remove_entries(self, tickets: Iterable[Ticket]) -> Iterator[Lane]:
        """Clear the lanes that may still have entries of `tickets`, before any waits again.

        Yields:
            Each of the lanes.
        """
        for ticket in tickets:
            lane = self.lanes.pop(ticket.number, None)
            if lane is not None:
                lane.drop_gone()
                yield lane

    def forget_ended(self, tickets: Iterable[Ticket]) -> None:
        """Drop the ended tokens among `tickets`: none will wait again."""
        for ticket in tickets:
            if ticket.stage.ended:
                self.lanes.pop(ticket.number, None)
