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
    """The waiting tokens of a weight class, of an operation that is paused, or for a single core.

    Args:
        core: The core that it is for; 0: for more than one.

    Attributes:
        queue: The tokens in order, and entries of such as do not wait any more.
        gone: How many such entries there are: tokens that ended, or were taken before their turn.
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
        """Waiting tokens, in order."""
        return waiting(self.queue)

    def count_off(self) -> None:
        """Count a token of the queue as gone; entries are dropped once half are gone."""
        self.gone += 1
        if self.gone * 2 > len(self.queue):
            self.drop_gone()

    def drop_gone(self) -> None:
        """Drop the entries of tokens that do not wait any more."""
        if self.gone:
            self.refill(self)

    def refill(self, tickets: Iterable[Ticket]) -> None:
        """Let `tickets` wait here, and no others."""
        self.queue = deque(tickets)
        self.gone = 0

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        gone = sum(ticket.stage is not WAITING for ticket in self.queue)
        assert gone == self.gone, f"{gone} of a lane wait no more, not {self.gone}"


def waiting(tickets: Iterable[Ticket]) -> Iterator[Ticket]:
    """The waiting tokens among `tickets`."""
    return (ticket for ticket in tickets if ticket.stage is WAITING)
