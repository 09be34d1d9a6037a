"""Admission: where tokens wait, in a lane for each weight class.

Tokens leave a lane first in, first out. One that ends while it waits is only counted off; the lane
lets go of it when it comes up, or when such tokens are the larger part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from operator import attrgetter

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.options import WEIGHTS, Weight
from tokengate_mp.scheduling.ticket import Ticket

CREATED, WAITING = TokenState.CREATED, TokenState.WAITING


class Lane:
    """The waiting tokens of one weight class.

    Attributes:
        queue: The tokens in order, those that have ended meanwhile among them.
        ended: How many of the queue have ended.
    """

    __slots__ = ("ended", "queue")

    def __init__(self) -> None:
        self.queue: deque[Ticket] = deque()
        self.ended = 0

    def __len__(self) -> int:
        return len(self.queue) - self.ended

    def __iter__(self) -> Iterator[Ticket]:
        """Those that wait, in order."""
        return (ticket for ticket in self.queue if ticket.stage is WAITING)

    def discard(self) -> None:
        """Take note that one of the waiting tokens has ended."""
        self.ended += 1
        if self.ended * 2 > len(self.queue):
            self.queue = deque(self)
            self.ended = 0


class Gate:
    """All lanes."""

    __slots__ = ("lanes",)

    def __init__(self) -> None:
        self.lanes: dict[Weight, Lane] = {weight: Lane() for weight in WEIGHTS}

    def __len__(self) -> int:
        return sum(map(len, self.lanes.values()))

    def __iter__(self) -> Iterator[Ticket]:
        """All waiting tokens, lane by lane."""
        return (ticket for lane in self.lanes.values() for ticket in lane)

    def enter(self, tickets: Iterable[Ticket]) -> int:
        """Put new tokens at the end of their lanes; how many there were.

        One that was killed on its way here has ended already, and does not enter.
        """
        queues = {weight: lane.queue for weight, lane in self.lanes.items()}
        entered = 0
        for ticket in tickets:
            if ticket.stage is CREATED:
                ticket.stage = WAITING
                queues[ticket.operation.weight].append(ticket)
                entered += 1
        return entered

    def reenter(self, tickets: Iterable[Ticket]) -> None:
        """Put tokens that were admitted, but never begun, back where they came from.

        They go to the front, oldest first: they have waited longest.
        """
        for ticket in sorted(tickets, key=attrgetter("number"), reverse=True):
            ticket.stage = WAITING
            self.lanes[ticket.operation.weight].queue.appendleft(ticket)

    def discard(self, ticket: Ticket) -> None:
        """Take note that a waiting token has ended."""
        self.lanes[ticket.operation.weight].discard()

    def empty(self, weights: Iterable[Weight]) -> list[Ticket]:
        """Take all waiting tokens of these classes out of their lanes."""
        waiting: list[Ticket] = []
        for weight in weights:
            lane = self.lanes[weight]
            waiting += lane
            lane.queue.clear()
            lane.ended = 0
        return waiting

    def ahead(self, ticket: Ticket) -> int | None:
        """How many tokens will leave its lane before this one; None if it does not wait."""
        if ticket.stage is not WAITING:
            return None
        return next(
            ahead
            for ahead, other in enumerate(self.lanes[ticket.operation.weight])
            if other is ticket
        )

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            AssertionError: It does not.
        """
        for weight, lane in self.lanes.items():
            ended = 0
            for ticket in lane.queue:
                assert ticket.operation.weight == weight, f"{ticket} is in the lane of {weight}"
                assert ticket.stage is WAITING or ticket.stage.ended, f"{ticket} does not wait"
                ended += ticket.stage is not WAITING
            assert ended == lane.ended, f"{ended} of the {weight} lane have ended, not {lane.ended}"
