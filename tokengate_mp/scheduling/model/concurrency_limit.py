"""ConcurrencyLimits: how many tokens of an operation the cores may hold at once.

Tokens of a limited operation wait in *limited queues*: each leads to one of the lanes that cores
are
served from, and has its *door* there. So they hold up nobody, and what is in a lane can always be
sent (see `admission_of_limited` for how they get there).

A limit counts what cores hold, whether it runs or lies behind something else: a token counts from
when it is sent until its core has answered for it, also if it was killed meanwhile. Two kinds of
token are counted and never held back, since others may wait for them where they are: those made in
a chain, which are on their core from the first; and one that is claimed while every token that
counts waits for another one (see `Scheduler.claimed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores
from tokengate_mp.scheduling.waiting.lane import Lane

if TYPE_CHECKING:
    from tokengate_mp.scheduling.model.operation import Operation  # which knows its limit

_operation: Callable[[Ticket], Operation] = attrgetter("operation")


class LimitedQueue(Lane):
    """Where tokens of a limited operation wait to be let into a lane.

    Args:
        door: The lane.
    """

    __slots__ = ("door",)

    def __init__(self, door: Lane) -> None:
        super().__init__()
        self.door = door


class ConcurrencyLimit:
    """How many tokens of one operation may be held by cores.

    Args:
        name: The operation.
        most: So many.

    Attributes:
        held: How many are.
        rooms: The limited queue of each lane that its tokens have waited for.
    """

    __slots__ = ("held", "most", "name", "rooms")

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.held = 0
        self.rooms: dict[Lane, LimitedQueue] = {}

    @property
    def free(self) -> int:
        """How many more may be sent; below 0 if some were not held back."""
        return self.most - self.held

    def room(self, door: Lane) -> LimitedQueue:
        """The limited queue of a lane."""
        room = self.rooms.get(door)
        if room is None:
            room = self.rooms[door] = LimitedQueue(door)
        return room


class ConcurrencyLimits:
    """All limits.

    Attributes:
        by_name: The limits, by the operations' names.
    """

    __slots__ = ("_declared", "by_name")

    def __init__(self) -> None:
        self.by_name: dict[str, ConcurrencyLimit] = {}
        self._declared: dict[str, int | None] = {}

    def declare(self, name: str, most: int | None) -> ConcurrencyLimit | None:
        """A function says how many tokens of its operation may be sent; None: any number.

        Raises:
            ValueError: Another function of that operation says something else.
        """
        before = self._declared.setdefault(name, most)
        if before != most:
            raise ValueError(
                f"{name!r} has max_running={most} here, and max_running={before} where it was "
                "called before: one operation has one limit. Say the same for all functions of "
                "this operation_type, or give them one each."
            )
        if most is None:
            return None
        return self.by_name.setdefault(name, ConcurrencyLimit(name, most))

    def is_declared(self, name: str) -> bool:
        """Whether any function of an operation was called."""
        return name in self._declared

    def declared(self, name: str) -> int | None:
        """What the first of them said."""
        return self._declared[name]

    def rooms(self) -> Iterator[LimitedQueue]:
        """All limited queues."""
        return (room for limit in self.all() for room in limit.rooms.values())

    def all(self) -> tuple[ConcurrencyLimit, ...]:
        """All limits: as they are now, since a call in another thread may add one."""
        return tuple(self.by_name.values())

    def could_send(self) -> bool:
        """Whether anything waits in an limited queue, and there is room for it within its limit."""
        free = (limit for limit in self.all() if limit.free > 0)
        return any(room.queue for limit in free for room in limit.rooms.values())

    def evict(self, gone: Cores) -> list[Ticket]:
        """Take out what waits for the lanes of these cores alone."""
        evicted: list[Ticket] = []
        for room in self.rooms():
            if gone >> room.door.core & 1:
                evicted += room
                room.replace(())
        return evicted

    def left(self, tickets: Iterable[Ticket]) -> None:
        """Cores hold these no more."""
        # Most batches are of one operation, and of one without a limit.
        if any(operation.limit is not None for operation in set(map(_operation, tickets))):
            for ticket in tickets:
                limit = ticket.operation.limit
                if limit is not None:
                    limit.held -= 1

    def validate(self, held: Iterable[Ticket]) -> None:
        """Check what must always hold.

        Args:
            held: Everything that cores hold.

        Raises:
            AssertionError: It does not.
        """
        counted = dict.fromkeys(self.all(), 0)
        for ticket in held:
            if ticket.operation.limit is not None:
                counted[ticket.operation.limit] += 1
        for limit, count in counted.items():
            assert limit.held == count, f"{limit.name} counts {limit.held}, and cores hold {count}"
            for room in limit.rooms.values():
                for ticket in room.queue:
                    assert ticket.operation.limit is limit, f"{ticket} waits for {limit.name}"
