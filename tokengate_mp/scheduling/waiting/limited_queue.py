"""Limited queues: where tokens wait whose operation has a concurrency limit.

Each limited queue leads to a lane that cores are served from, its *door*. Tokens are let through
only while their limit has room (see `cores.limited_admission`). So they hold up nobody, and a token
that is in a lane can always be sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores
from tokengate_mp.scheduling.waiting.lane import Lane


class LimitedQueue(Lane):
    """The tokens of a limited operation that wait to be let into a lane.

    Args:
        door: The lane.
    """

    __slots__ = ("door",)

    def __init__(self, door: Lane) -> None:
        super().__init__()
        self.door = door


class LimitedQueues:
    """All limited queues.

    Attributes:
        by_limit: For each limit that a token has waited for: the queue before each door.
    """

    __slots__ = ("by_limit",)

    def __init__(self) -> None:
        self.by_limit: dict[ConcurrencyLimit, dict[Lane, LimitedQueue]] = {}

    def queue_before(self, door: Lane, limit: ConcurrencyLimit) -> LimitedQueue:
        """The queue of an operation before a lane, made when first asked for."""
        queues = self.by_limit.get(limit)
        if queues is None:
            queues = self.by_limit[limit] = {}
        queue = queues.get(door)
        if queue is None:
            queue = queues[door] = LimitedQueue(door)
        return queue

    def queues_of(self, limit: ConcurrencyLimit) -> Collection[LimitedQueue]:
        """All queues of a limit."""
        return self.by_limit[limit].values()

    def all_queues(self) -> Iterator[LimitedQueue]:
        """All queues of all limits."""
        return (queue for queues in self.by_limit.values() for queue in queues.values())

    def could_send(self) -> bool:
        """Whether any queue has an entry, waiting or gone, and its limit has room."""
        return any(
            queue.queue
            for limit, queues in self.by_limit.items()
            if limit.room > 0
            for queue in queues.values()
        )

    def take_for_cores(self, gone: Cores) -> list[Ticket]:
        """Take out the tokens that wait for the own lanes of `gone` cores."""
        taken: list[Ticket] = []
        for queue in self.all_queues():
            if gone >> queue.door.core & 1:
                taken += queue
                queue.refill(())
        return taken

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        for limit, queues in self.by_limit.items():
            for queue in queues.values():
                for ticket in queue.queue:
                    assert ticket.operation.limit is limit, f"{ticket} waits for {limit.name}"
