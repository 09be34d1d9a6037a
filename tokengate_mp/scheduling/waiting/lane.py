"""A lane: tokens that wait in turn, first in, first out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import ALL_CORES, Cores

WAITING = TokenState.WAITING

NEVER: Final = -(1 << 62)
"""Long before any time."""


class Lane:
    """The waiting tokens of one weight class, of an operation that is paused, or for one core.

    Args:
        core: The core that it is for; 0: for more than one.

    Attributes:
        queue: The tokens in order, those that do not wait any more among them.
        gone: How many of the queue those are: they have ended, or were taken before their turn.
        core: The core that it is for, or 0.
        reach: The cores that its tokens may be sent to.
        sent_at: When a core was last given any of its tokens, ns.
    """

    __slots__ = ("core", "gone", "queue", "reach", "sent_at")

    def __init__(self, core: int = 0) -> None:
        self.queue: deque[Ticket] = deque()
        self.gone = 0
        self.core = core
        self.reach: Cores = 1 << core if core else ALL_CORES
        self.sent_at = NEVER

    def __len__(self) -> int:
        return len(self.queue) - self.gone

    def __iter__(self) -> Iterator[Ticket]:
        """Those that wait, in order."""
        return waiting(self.queue)

    def discard(self) -> None:
        """Take note that one of the waiting tokens waits no more."""
        self.gone += 1
        if self.gone * 2 > len(self.queue):
            self.tidy()

    def tidy(self) -> None:
        """Let go of those that do not wait any more."""
        if self.gone:
            self.replace(self)

    def replace(self, tickets: Iterable[Ticket]) -> None:
        """Let these wait in it, and no others."""
        self.queue = deque(tickets)
        self.gone = 0

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            AssertionError: It does not.
        """
        gone = sum(ticket.stage is not WAITING for ticket in self.queue)
        assert gone == self.gone, f"{gone} of a lane wait no more, not {self.gone}"


class Taken:
    """Tokens that were taken out of a lane before their turn.

    Looking for one in its lane would cost as much as there are before it. So it is let be there,
    and has to be gone only when it is to wait again: else it would wait twice.
    """

    __slots__ = ("lanes",)

    def __init__(self) -> None:
        self.lanes: dict[int, Lane] = {}

    def __bool__(self) -> bool:
        return bool(self.lanes)

    def note(self, ticket: Ticket, lane: Lane) -> None:
        """One was taken out of this lane, and does not wait any more."""
        self.lanes[ticket.number] = lane
        lane.discard()

    def clear_out(self, tickets: Iterable[Ticket]) -> Iterator[Lane]:
        """Clear the lanes of those of these tokens that may be in one, all before any waits again.

        Yields:
            Each of the lanes.
        """
        for ticket in tickets:
            lane = self.lanes.pop(ticket.number, None)
            if lane is not None:
                lane.tidy()
                yield lane

    def left(self, tickets: Iterable[Ticket]) -> None:
        """Those of these tokens that have ended will never wait again."""
        for ticket in tickets:
            if ticket.stage.ended:
                self.lanes.pop(ticket.number, None)


def waiting(tickets: Iterable[Ticket]) -> Iterator[Ticket]:
    """Those of them that wait."""
    return (ticket for ticket in tickets if ticket.stage is WAITING)
