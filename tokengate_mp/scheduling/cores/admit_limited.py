"""Limited admission: lets tokens of limited operations into the lanes, as far as they can be sent.

Whoever was called before what is first in the lane comes to its front, for one order. What was not
sent then goes back. So a token takes part in the order of the calls as if there were no limited
queue,
to within what is sent in one order; a limit counts nothing but what cores hold; and no lane ever
keeps a token that may not be sent.

When the lanes are empty and cores are still open, the others are let in too.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.cores.routing import Router
from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit, LimitedQueue
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.waiting.gate import Gate
from tokengate_mp.scheduling.waiting.lane import Lane

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED

AT_ONCE: Final = 256
"""How many tokens of an operation are let in at once: those that are not sent have to go back."""


class LimitedAdmission:
    """Has the router send what it can, that of limited operations too.

    Args:
        gate: Where tokens wait.
        ledger: Which cores are open.
        router: Who sends.
    """

    __slots__ = ("_gate", "_ledger", "_router")

    def __init__(self, gate: Gate, ledger: Ledger, router: Router) -> None:
        self._gate = gate
        self._ledger = ledger
        self._router = router

    def assign(self, now: int) -> dict[int, list[Ticket]]:
        """Send out what there is room for: the tokens for each core, now ADMITTED."""
        ledger = self._ledger
        inside = self._let_in(late=False)
        orders = self._router.assign(now)
        self._turn_back(inside)
        while ledger.open and (inside := self._let_in(late=True)):
            before = ledger.open
            for core, tickets in self._router.assign(now).items():
                orders.setdefault(core, []).extend(tickets)
            if not self._turn_back(inside) and ledger.open == before:
                break
        return orders

    def _let_in(self, *, late: bool) -> dict[Lane, list[Ticket]]:
        """Let tokens in, at the front; `late`: where nothing else waits.

        Returns:
            They, in their order, by lane.
        """
        inside: dict[Lane, list[Ticket]] = {}
        for limit in self._gate.limits.all():
            if limit.free > 0 and limit.rooms:
                self._choose(limit, inside, late=late)
        for door, tickets in inside.items():
            tickets.sort(key=attrgetter("number"))
            door.queue.extendleft(reversed(tickets))
            self._gate.wanted |= (1 << door.core) & ~1
        return inside

    def _choose(
        self, limit: ConcurrencyLimit, inside: dict[Lane, list[Ticket]], *, late: bool
    ) -> None:
        """Take those of one operation that may come in out of their queues, oldest first."""
        rooms = [room for room in limit.rooms.values() if room.door.reach & self._ledger.open]
        for _ in range(min(limit.free, AT_ONCE)):
            oldest: LimitedQueue | None = None
            for room in rooms:
                first = _first(room)
                if first is None or not _may_enter(first, room.door, late=late):
                    continue
                if oldest is None or first.number < oldest.queue[0].number:
                    oldest = room
            if oldest is None:
                return
            inside.setdefault(oldest.door, []).append(oldest.queue.popleft())

    def _turn_back(self, inside: dict[Lane, list[Ticket]]) -> bool:
        """Count what was sent, and take what was not out again; whether any was sent."""
        sent = False
        for door, tickets in inside.items():
            # What is left of them is at the front still, in order.
            staying = [ticket for ticket in tickets if ticket.stage is WAITING]
            for ticket in staying:
                first = door.queue.popleft()
                assert first is ticket, f"{first} came before {ticket}"
            for ticket in tickets:
                limit = ticket.operation.limit
                if ticket.stage is ADMITTED and limit is not None:
                    limit.held += 1
                    sent = True
            for ticket in reversed(staying):
                limit = ticket.operation.limit
                if limit is not None:
                    limit.room(door).queue.appendleft(ticket)
            self._gate.note_served(door)
        return sent


def _first(room: LimitedQueue) -> Ticket | None:
    """The first that waits in an limited queue; those before it that wait no more are let go of."""
    queue = room.queue
    while queue:
        if queue[0].stage is WAITING:
            return queue[0]
        queue.popleft()
        room.gone -= 1
    return None


def _may_enter(ticket: Ticket, door: Lane, *, late: bool) -> bool:
    if not door.queue:
        return True
    return not late and ticket.number < door.queue[0].number
