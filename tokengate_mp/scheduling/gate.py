"""Admission: where tokens wait, in a lane for each weight class.

Tokens leave a lane first in, first out. One that ends while it waits is only counted off; the lane
lets go of it when it comes up, or when such tokens are the larger part.

Tokens of an operation that is paused wait in a lane of their own, which no core is served from; so
pausing costs the others nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, merge
from itertools import chain
from operator import attrgetter
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.options import WEIGHTS, Weight
from tokengate_mp.scheduling.ticket import Ticket

CREATED, WAITING = TokenState.CREATED, TokenState.WAITING

INTERLEAVE: Final = 16
"""How many tokens may leave a lane before one that is run again, should so many wait."""


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
    """All lanes, and what waits outside of them.

    Attributes:
        lanes: The lane of each weight class: tokens that may be sent to a core.
        paused: The tokens of operations that are held back, by the operations' names.
        postponed: Tokens that wait for their next run, by number.
    """

    __slots__ = ("_due", "lanes", "paused", "postponed")

    def __init__(self) -> None:
        self.lanes: dict[Weight, Lane] = {weight: Lane() for weight in WEIGHTS}
        self.paused: dict[str, Lane] = {}
        self.postponed: dict[int, Ticket] = {}
        self._due: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return sum(map(len, self._all_lanes())) + len(self.postponed)

    def __iter__(self) -> Iterator[Ticket]:
        """All waiting tokens, lane by lane."""
        in_lanes = (ticket for lane in self._all_lanes() for ticket in lane)
        return chain(in_lanes, self.postponed.values())

    def _all_lanes(self) -> Iterator[Lane]:
        return chain(self.lanes.values(), self.paused.values())

    def _lane(self, ticket: Ticket) -> Lane:
        """Where this token waits, if it is not postponed."""
        held_back = self.paused.get(ticket.operation.name) if self.paused else None
        return self.lanes[ticket.operation.weight] if held_back is None else held_back

    def enter(self, tickets: Iterable[Ticket]) -> int:
        """Put new tokens at the end of their lanes; how many there were.

        One that was killed on its way here has ended already, and does not enter.
        """
        queues = {weight: lane.queue for weight, lane in self.lanes.items()}
        paused = self.paused
        entered = 0
        for ticket in tickets:
            if ticket.stage is CREATED:
                ticket.stage = WAITING
                if paused:
                    self._lane(ticket).queue.append(ticket)
                else:
                    queues[ticket.operation.weight].append(ticket)
                entered += 1
        return entered

    def reenter(self, tickets: Iterable[Ticket]) -> None:
        """Put tokens that were admitted, but never begun, back where they came from.

        They go to the front, oldest first: they have waited longest.
        """
        for ticket in sorted(tickets, key=attrgetter("number"), reverse=True):
            ticket.stage = WAITING
            self._lane(ticket).queue.appendleft(ticket)

    def interleave(self, ticket: Ticket) -> None:
        """Put a token that is to be run again among those that come soon.

        Not at the end, where it would wait for everything; and not before all others, where a token
        that fails at once would keep a core to itself.
        """
        ticket.stage = WAITING
        self._lane(ticket).queue.insert(INTERLEAVE, ticket)

    def postpone(self, ticket: Ticket, until: int) -> None:
        """Hold a token that is to be run again until that time, ns."""
        ticket.stage = WAITING
        self.postponed[ticket.number] = ticket
        heappush(self._due, (until, ticket.number))

    def next_due(self) -> int | None:
        """When the next postponed token's pause is over, ns; None if there is none."""
        while self._due and self._due[0][1] not in self.postponed:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def take_due(self, now: int) -> list[Ticket]:
        """Take those whose pause is over, which wait nowhere then."""
        taken: list[Ticket] = []
        while (due := self.next_due()) is not None and due <= now:
            taken.append(self.postponed.pop(heappop(self._due)[1]))
        return taken

    def lets_pass(self, ticket: Ticket) -> bool:
        """Whether tokens of its operation are not held back."""
        return ticket.operation.name not in self.paused

    def pause(self, name: str) -> None:
        """Hold back the tokens of an operation, those of all weights."""
        if name in self.paused:
            return
        held_back: list[Ticket] = []
        for lane in self.lanes.values():
            mine = [ticket for ticket in lane if ticket.operation.name == name]
            if mine:
                others = [ticket for ticket in lane if ticket.operation.name != name]
                lane.queue = deque(others)
                lane.ended = 0
                held_back += mine
        self.paused[name] = Lane()
        self.reenter(held_back)

    def resume(self, name: str) -> None:
        """Let them into their lanes again, each before those that were called after it."""
        held_back = self.paused.pop(name, None)
        if held_back is None:
            return
        for weight, lane in self.lanes.items():
            mine = [ticket for ticket in held_back if ticket.operation.weight == weight]
            if mine:
                lane.queue = deque(merge(mine, lane, key=attrgetter("number")))
                lane.ended = 0

    def take(self, ticket: Ticket) -> bool:
        """Take a waiting token out of its lane before its turn; whether it was there."""
        try:
            self.lanes[ticket.operation.weight].queue.remove(ticket)
        except ValueError:
            return False
        return True

    def discard(self, ticket: Ticket) -> None:
        """Take note that a waiting token has ended."""
        if self.postponed.pop(ticket.number, None) is None:
            self._lane(ticket).discard()

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
        """How many tokens will leave its lane before this one; None if it is in none."""
        if ticket.stage is not WAITING or ticket.number in self.postponed:
            return None
        line = enumerate(self._lane(ticket))
        return next((ahead for ahead, other in line if other is ticket), None)

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            AssertionError: It does not.
        """
        for weight, lane in self.lanes.items():
            for ticket in lane.queue:
                assert ticket.operation.weight == weight, f"{ticket} is in the lane of {weight}"
                if ticket.stage is WAITING:
                    assert ticket.operation.name not in self.paused, f"{ticket} is held back"
        for name, lane in self.paused.items():
            for ticket in lane.queue:
                assert ticket.operation.name == name, f"{ticket} is held back for {name}"
        for lane in self._all_lanes():
            ended = 0
            for ticket in lane.queue:
                assert ticket.stage is WAITING or ticket.stage.ended, f"{ticket} does not wait"
                assert ticket.number not in self.postponed, f"{ticket} is in a lane and postponed"
                ended += ticket.stage is not WAITING
            assert ended == lane.ended, f"{ended} of a lane have ended, not {lane.ended}"
        assert all(ticket.stage is WAITING for ticket in self.postponed.values())
