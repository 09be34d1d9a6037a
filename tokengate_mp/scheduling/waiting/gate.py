"""The gate: where tokens wait, in a lane for each weight class.

Tokens leave a lane first in, first out. A token that ends while it waits, or is taken before its
turn, is only counted off; the lane drops its entry when that comes up, or when such entries are the
larger part.

Tokens of an operation that is paused wait in a lane of their own, which no core is served from; so
pausing costs the others nothing.

A token whose key is pinned to a core waits in a lane of that core's own, out of reach of all others
(see `sticky`). A token that depends on others which have not ended is withheld: it waits in no lane
at all. Tokens of an operation that has a concurrency limit wait before their lane, in a limited
queue (see `limited_queue`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import Final

from tokengate_mp.config.options import WEIGHTS, Weight
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores, members
from tokengate_mp.scheduling.waiting.lane import Lane, waiting
from tokengate_mp.scheduling.waiting.limited_queue import LimitedQueues
from tokengate_mp.scheduling.waiting.postponed import Postponed
from tokengate_mp.scheduling.waiting.sticky import Pin, Sticky
from tokengate_mp.scheduling.waiting.taken import Taken

CREATED, WAITING = TokenState.CREATED, TokenState.WAITING
ADMITTED = TokenState.ADMITTED

INTERLEAVE: Final = 16
"""How many tokens may leave a lane before a token that is run again, should so many wait."""


class Gate:
    """All lanes, and the tokens that wait outside.

    Attributes:
        lanes: The lane of each weight class: tokens that may be sent to a core.
        pinned: The lane of each core that has had tokens pinned to it.
        wanted: The cores in whose own lanes there is anything.
        paused: The tokens of operations that are held back, by the operations' names.
        postponed: Tokens that wait for their next run.
        withheld: Tokens that wait for others to end, by number.
        sticky: The keys, and which core each is pinned to.
        limited: Where tokens wait for room within the limit of their operation.
        taken: Tokens that were taken out of a lane before their turn.
    """

    __slots__ = (
        "lanes",
        "limited",
        "paused",
        "pinned",
        "postponed",
        "sticky",
        "taken",
        "wanted",
        "withheld",
    )

    def __init__(self) -> None:
        self.lanes: dict[Weight, Lane] = {weight: Lane() for weight in WEIGHTS}
        self.pinned: dict[int, Lane] = {}
        self.wanted: Cores = 0
        self.paused: dict[str, Lane] = {}
        self.postponed = Postponed()
        self.withheld: dict[int, Ticket] = {}
        self.sticky = Sticky()
        self.limited = LimitedQueues()
        self.taken = Taken()

    def __len__(self) -> int:
        behind = sum(1 for _ in self.sticky.all_behind())
        outside = len(self.postponed) + len(self.withheld) + behind
        return sum(map(len, self._all_lanes())) + outside

    def count_waiting(self) -> int:
        """How many tokens wait; for any thread, where the count may be off by a few.

        Each collection is copied by one call of C code, and never walked while it may change. (A
        lane that is tidied up at this moment may seem to have fewer tokens than none.)
        """
        lanes = [*self.lanes.values(), *self.pinned.values(), *self.paused.values()]
        for queues in list(self.limited.by_limit.values()):
            lanes += queues.values()
        count = sum(max(0, len(lane.queue) - lane.gone) for lane in lanes)
        for pin in list(self.sticky.unplaced.values()):
            count += sum(ticket.stage is WAITING for ticket in list(pin.behind))
        return count + len(self.postponed) + len(self.withheld)

    def __iter__(self) -> Iterator[Ticket]:
        """All waiting tokens, lane by lane."""
        in_lanes = (ticket for lane in self._all_lanes() for ticket in lane)
        return chain(in_lanes, self.sticky.all_behind(), self.postponed, self.withheld.values())

    def _all_lanes(self) -> Iterator[Lane]:
        lanes = (self.lanes.values(), self.pinned.values(), self.paused.values())
        return chain(*lanes, self.limited.all_queues())

    def has_any(self) -> bool:
        """Whether a lane that cores are served from has any entry, waiting or gone."""
        for lane in self.lanes.values():
            if lane.queue:
                return True
        return bool(self.wanted) or (bool(self.limited.by_limit) and self.limited.could_send())

    def _lane(self, ticket: Ticket) -> Lane | None:
        """The lane of a token that is not outside; None: behind the first of its key."""
        held_back = self.paused.get(ticket.operation.name) if self.paused else None
        if held_back is not None:
            return held_back
        pin = self.sticky.members.get(ticket.number) if self.sticky.members else None
        if pin is None or ticket.number in self.sticky.unplaced:
            lane = self.lanes[ticket.operation.weight]
        elif pin.core is None:
            return None
        else:
            lane = self._lane_of_core(pin.core)
        limit = ticket.operation.limit
        return lane if limit is None else self.limited.queue_before(lane, limit)

    def _lane_of_core(self, core: int) -> Lane:
        lane = self.pinned.get(core)
        if lane is None:
            lane = self.pinned[core] = Lane(core)
        return lane

    def _queue(self, ticket: Ticket) -> deque[Ticket]:
        """The queue to put a token into."""
        lane = self._lane(ticket)
        if lane is None:
            return self.sticky.members[ticket.number].behind
        if lane.core:
            self.wanted |= 1 << lane.core
        return lane.queue

    # ---- in

    def enter_new(self, tickets: Iterable[Ticket], *, limited: bool) -> int:
        """Put new tokens at the end of their lanes.

        Args:
            tickets: The tokens. A token that was killed on its way here does not enter.
            limited: Whether any operation has a concurrency limit.

        Returns:
            How many have entered.
        """
        queues = {weight: lane.queue for weight, lane in self.lanes.items()}
        paused = self.paused
        apart = bool(paused or limited)
        entered = 0
        for ticket in tickets:
            if ticket.stage is CREATED:
                ticket.stage = WAITING
                if apart and (paused or ticket.operation.limit is not None):
                    self._queue(ticket).append(ticket)
                else:
                    queues[ticket.operation.weight].append(ticket)
                entered += 1
        return entered

    def enter_anchored(self, calls: Iterable[tuple[Ticket, bytes, int]]) -> int:
        """Put new tokens that have a key where others of that key are; how many have entered.

        Args:
            calls: Each token, its key, and for how long to keep that pinned, ns.
        """
        entered = 0
        for ticket, key, keep in calls:
            if ticket.stage is CREATED:
                ticket.stage = WAITING
                pin = self.sticky.join_key(ticket, key, keep)
                if self.paused or ticket.operation.limit is not None:
                    self._queue(ticket).append(ticket)
                elif pin.core is None:  # from here on this is what `_queue` would find
                    lane = self.lanes[ticket.operation.weight]
                    (pin.behind if len(pin.members) > 1 else lane.queue).append(ticket)
                else:
                    self._lane_of_core(pin.core).queue.append(ticket)
                    self.wanted |= 1 << pin.core
                entered += 1
        return entered

    def withhold(self, ticket: Ticket) -> int:
        """Let a new token wait outside the lanes; the number entered: 0 for an ended token."""
        if ticket.stage is not CREATED:
            return 0
        ticket.stage = WAITING
        self.withheld[ticket.number] = ticket
        return 1

    def release_withheld(self, ticket: Ticket, key: bytes | None, keep: int) -> None:
        """Put a token that was withheld at the end of its lane, or where its key says."""
        del self.withheld[ticket.number]
        if key is not None:
            self.sticky.join_key(ticket, key, keep)
        self._queue(ticket).append(ticket)

    def reenter(self, tickets: Iterable[Ticket]) -> None:
        """Put tokens that were admitted, but never begun, back into their lanes.

        To the front, oldest first: they have waited longest.
        """
        for ticket in sorted(tickets, key=attrgetter("number"), reverse=True):
            ticket.stage = WAITING
            self._queue(ticket).appendleft(ticket)

    def interleave(self, ticket: Ticket) -> None:
        """Put a token that is to be run again among the next tokens of its lane.

        Not at the end, where it would wait for everything; and not before all others, where a token
        that fails at once would keep a core to itself.
        """
        ticket.stage = WAITING
        self._queue(ticket).insert(INTERLEAVE, ticket)

    # ---- held back

    def postpone(self, ticket: Ticket, until: int) -> None:
        """Hold a token that is to be run again until that time, ns."""
        ticket.stage = WAITING
        self.postponed.hold_until(until, ticket)

    def lets_pass(self, ticket: Ticket) -> bool:
        """Whether the operation of a token is not paused."""
        return ticket.operation.name not in self.paused

    def pause(self, name: str) -> None:
        """Hold back the tokens of an operation, of whatever weight."""
        if name in self.paused:
            return
        held_back: list[Ticket] = []
        for lane in (*self.lanes.values(), *self.pinned.values(), *self.limited.all_queues()):
            mine = [ticket for ticket in lane if ticket.operation.name == name]
            if mine:
                lane.refill([ticket for ticket in lane if ticket.operation.name != name])
                self.lane_served(lane)
                held_back += mine
        for pin in self.sticky.unplaced.values():
            held_back += [t for t in waiting(pin.behind) if t.operation.name == name]
            pin.behind = deque(t for t in waiting(pin.behind) if t.operation.name != name)
        self.paused[name] = Lane()
        self.reenter(held_back)

    def resume(self, name: str) -> None:
        """Let the tokens of an operation into their lanes again, in the order of the calls."""
        held_back = self.paused.pop(name, None)
        if held_back is None:
            return
        returning: dict[int, tuple[Lane, list[Ticket]]] = {}
        for ticket in held_back:
            lane = self._lane(ticket)
            if lane is None:
                self._queue(ticket).append(ticket)
            else:
                returning.setdefault(id(lane), (lane, []))[1].append(ticket)
        for lane, mine in returning.values():
            lane.refill(merge(mine, lane, key=attrgetter("number")))
            self.wanted |= (1 << lane.core) & ~1

    # ---- out

    def take_early(self, ticket: Ticket, core: int, waiting: Cores) -> bool:
        """Take a waiting token out of its lane before its turn, for a core; False if not allowed.

        It is ADMITTED with this. A token whose key is pinned to another core stays, unless that is
        one of `waiting`, of which every thread waits. A key that has no core yet gets this one.
        """
        outside = ticket.number in self.postponed or ticket.number in self.withheld
        if outside or not self.lets_pass(ticket):
            return False
        pin = self.sticky.members.get(ticket.number)
        if pin is not None and pin.core not in {None, core} and not waiting >> pin.core & 1:
            return False
        if pin is not None and pin.core is None and ticket.number not in self.sticky.unplaced:
            self._place(pin, core)
        lane = self._lane(ticket)
        assert lane is not None, f"{ticket} waits behind another one"
        ticket.stage = ADMITTED
        self.taken.take_from(lane, ticket)
        self.lane_served(lane)
        self.pin_keys([ticket], core)
        return True

    def expect_again(self, tickets: Iterable[Ticket]) -> None:
        """Remove old entries of tokens that are going to wait again, all before any does."""
        for lane in self.taken.remove_entries(tickets):
            self.lane_served(lane)

    def drop_ended(self, ticket: Ticket) -> None:
        """Count off a token that has ended while waiting."""
        if self.postponed.drop(ticket) or self.withheld.pop(ticket.number, None) is not None:
            return
        lane = self._lane(ticket)
        if lane is not None:
            lane.count_off()
            self.lane_served(lane)

    def empty_lanes(self, weights: Iterable[Weight]) -> list[Ticket]:
        """Take all waiting tokens of some classes out of their lanes."""
        emptied: list[Ticket] = []
        for weight in weights:
            door = self.lanes[weight]
            for lane in (door, *(q for q in self.limited.all_queues() if q.door is door)):
                emptied += lane
                lane.refill(())
        return emptied

    def lane_served(self, lane: Lane) -> None:
        """Update `wanted` after tokens have left a lane."""
        if lane.core and not lane.queue:
            self.wanted &= ~(1 << lane.core)

    # ---- keys

    def pin_keys(self, tickets: Iterable[Ticket], core: int) -> None:
        """Pin to a core the keys whose first token goes there; the tokens behind follow."""
        for ticket in tickets:
            pin = self.sticky.unplaced.pop(ticket.number, None)
            if pin is not None:
                self._follow(pin, core)

    def _follow(self, pin: Pin, core: int) -> None:
        pin.core = core
        lane = self._lane_of_core(core)
        for other in waiting(pin.behind):
            apart = self.paused or other.operation.limit is not None
            (self._queue(other) if apart else lane.queue).append(other)
        pin.behind.clear()
        if lane.queue:
            self.wanted |= 1 << core

    def _place(self, pin: Pin, core: int) -> None:
        """Pin a key to a core before the first of its tokens has been sent."""
        first = next(each for number, each in pin.members.items() if number in self.sticky.unplaced)
        if first.number not in self.postponed and self.lets_pass(first):
            self._queue(first).remove(first)
            pin.behind.appendleft(first)
        del self.sticky.unplaced[first.number]
        self._follow(pin, core)

    def leave_key(self, ticket: Ticket) -> None:
        """Count a token that has ended off its key, if any."""
        unplaced = self.sticky.unplaced
        pin = self.sticky.leave_key(ticket.number)
        if unplaced and pin is not None and pin.members and ticket.number in unplaced:
            del unplaced[ticket.number]
            self._hand_on(pin)

    def _hand_on(self, pin: Pin) -> None:
        """Let the first token behind get the key its core; or else any that is held back."""
        ticket = next(waiting(pin.behind), None)
        if ticket is not None:
            while pin.behind.popleft() is not ticket:
                pass
            self.sticky.unplaced[ticket.number] = pin
            self._queue(ticket).appendleft(ticket)
        elif (ticket := next(waiting(pin.members.values()), None)) is not None:
            self.sticky.unplaced[ticket.number] = pin
        else:
            # A process that drains holds all of them, and its core will never be ready again.
            self.sticky.drop_pin(pin)

    def evict_keys(self, gone: Cores) -> None:
        """Let the keys be placed anew of cores that hold nothing, and will never be ready again."""
        unpinned = self.sticky.unpin_cores(gone)
        for core in members(self.wanted & gone):
            for ticket in self.pinned.pop(core):
                self.sticky.members[ticket.number].behind.append(ticket)
        for ticket in self.limited.take_for_cores(gone):
            self.sticky.members[ticket.number].behind.append(ticket)
        self.wanted &= ~gone
        for pin in reversed(unpinned):
            self._hand_on(pin)

    # ---- views

    def ahead(self, ticket: Ticket) -> int | None:
        """How many tokens are before a token in its lane; None: the token is in no lane."""
        if ticket.stage is not WAITING:
            return None
        if ticket.number in self.postponed or ticket.number in self.withheld:
            return None
        lane = self._lane(ticket)
        line = waiting(self._queue(ticket)) if lane is None else lane
        return next((ahead for ahead, other in enumerate(line) if other is ticket), None)

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        assert self.count_waiting() == len(self), "counted otherwise for other threads"
        self.sticky.validate()
        self.limited.validate()
        for weight, lane in self.lanes.items():
            for ticket in lane.queue:
                assert ticket.operation.weight == weight, f"{ticket} is in the lane of {weight}"
                assert ticket.operation.limit is None, f"{ticket} may not be sent"
        for name, lane in self.paused.items():
            for ticket in lane.queue:
                assert ticket.operation.name == name, f"{ticket} is held back for {name}"
        for core, lane in self.pinned.items():
            assert bool(self.wanted >> core & 1) == bool(lane.queue), f"core {core}: wanted"
        for lane in self._all_lanes():
            lane.validate()
            for ticket in lane:
                assert self._lane(ticket) is lane, f"{ticket} is in the wrong lane"
        for ticket in self.sticky.all_behind():
            assert self._lane(ticket) is None, f"{ticket} waits behind another one"
        in_lanes = {ticket.number for lane in self._all_lanes() for ticket in lane}
        for ticket in (*self.postponed, *self.withheld.values()):
            assert ticket.stage is WAITING, f"{ticket} does not wait"
            assert ticket.number not in in_lanes, f"{ticket} is in a lane, and outside"
