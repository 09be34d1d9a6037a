"""A lane: tokens that wait in turn, first in, first out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.ticket import Ticket
from tokengate_mp.scheduling.weights import ALL_CORES, Cores

WAITING = TokenState.WAITING

NEVER: Final = -(1 << 62)
"""Long before any time."""


class Lane:
    """The waiting tokens of one weight class, of an operation that is paused, or for one core.

    Args:
        core: The core that it is for; 0: for more than one.

    Attributes:
        queue: The tokens in order, those that have ended meanwhile among them.
        ended: How many of the queue have ended.
        core: The core that it is for, or 0.
        reach: The cores that its tokens may be sent to.
        sent_at: When a core was last given any of its tokens, ns.
    """

    __slots__ = ("core", "ended", "queue", "reach", "sent_at")

    def __init__(self, core: int = 0) -> None:
        self.queue: deque[Ticket] = deque()
        self.ended = 0
        self.core = core
        self.reach: Cores = 1 << core if core else ALL_CORES
        self.sent_at = NEVER

    def __len__(self) -> int:
        return len(self.queue) - self.ended

    def __iter__(self) -> Iterator[Ticket]:
        """Those that wait, in order."""
        return waiting(self.queue)

    def discard(self) -> None:
        """Take note that one of the waiting tokens has ended."""
        self.ended += 1
        if self.ended * 2 > len(self.queue):
            self.replace(self)

    def replace(self, tickets: Iterable[Ticket]) -> None:
        """Let these wait in it, and no others."""
        self.queue = deque(tickets)
        self.ended = 0

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            AssertionError: It does not.
        """
        ended = 0
        for ticket in self.queue:
            assert ticket.stage is WAITING or ticket.stage.ended, f"{ticket} does not wait"
            ended += ticket.stage is not WAITING
        assert ended == self.ended, f"{ended} of a lane have ended, not {self.ended}"


def waiting(tickets: Iterable[Ticket]) -> Iterator[Ticket]:
    """Those of them that have not ended."""
    return (ticket for ticket in tickets if ticket.stage is WAITING)
