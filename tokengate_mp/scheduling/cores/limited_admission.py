"""Limited admission: lets tokens of limited operations into the lanes, as far as they can be sent.

A token that was called before the first in its lane comes to the front of that, for one order. If
it was not sent then it goes back. So tokens take part in the order of the calls as if there were no
limited queue, to within what is sent in one order; a limit counts nothing but what cores hold; and
no lane ever keeps a token that may not be sent.

When the lanes are empty and cores are still open, the others are let in too.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.cores.routing import Router
from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.waiting.gate import Gate
from tokengate_mp.scheduling.waiting.lane import Lane
from tokengate_mp.scheduling.waiting.limited_queue import LimitedQueue

WAITING, ADMITTED = TokenState.WAITING, TokenState.ADMITTED

AT_ONCE: Final = 256
"""Tokens of an operation that are let in at once: those that are not sent have to go back."""


class LimitedAdmission:
    """Routes tokens of limited operations together with all others.

    Args:
        gate: Where tokens wait.
        ledger: Which cores are open.
        router: Sends what is in the lanes.
    """

    __slots__ = ("_gate", "_ledger", "_router")

    def __init__(self, gate: Gate, ledger: Ledger, router: Router) -> None:
        self._gate = gate
        self._ledger = ledger
        self._router = router

    def route_limited(self, now: int) -> dict[int, list[Ticket]]:
        """Send out as much as there is room for: the tokens for each core, now ADMITTED."""
        ledger = self._ledger
        inside = self._let_in(late=False)
        orders = self._router.route(now)
        self._turn_back(inside)
        while ledger.open and (inside := self._let_in(late=True)):
            before = ledger.open
            for core, tickets in self._router.route(now).items():
                orders.setdefault(core, []).extend(tickets)
            if not self._turn_back(inside) and ledger.open == before:
                break
        return orders

    def _let_in(self, *, late: bool) -> dict[Lane, list[Ticket]]:
        """Let tokens in, at the front of their lanes.

        Args:
            late: Only where nothing else waits.

        Returns:
            The tokens that were let in, in order, by lane.
        """
        inside: dict[Lane, list[Ticket]] = {}
        for limit in self._gate.limited.by_limit:
            if limit.room > 0:
                self._choose(limit, inside, late=late)
        for door, tickets in inside.items():
            tickets.sort(key=attrgetter("number"))
            door.queue.extendleft(reversed(tickets))
            self._gate.wanted |= (1 << door.core) & ~1
        return inside

    def _choose(
        self, limit: ConcurrencyLimit, inside: dict[Lane, list[Ticket]], *, late: bool
    ) -> None:
        """Take tokens of an operation that may come in out of their queues, oldest first."""
        queues = self._gate.limited.queues_of(limit)
        reachable = [queue for queue in queues if queue.door.reach & self._ledger.open]
        for _ in range(min(limit.room, AT_ONCE)):
            oldest: LimitedQueue | None = None
            for queue in reachable:
                first = _first_waiting(queue)
                if first is None or not _may_enter(first, queue.door, late=late):
                    continue
                if oldest is None or first.number < oldest.queue[0].number:
                    oldest = queue
            if oldest is None:
                return
            inside.setdefault(oldest.door, []).append(oldest.queue.popleft())

    def _turn_back(self, inside: dict[Lane, list[Ticket]]) -> bool:
        """Count the tokens that were sent, and take the others out again; False if none was."""
        sent = False
        for door, tickets in inside.items():
            # The others are at the front still, in order.
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
                    self._gate.limited.queue_before(door, limit).queue.appendleft(ticket)
            self._gate.lane_served(door)
        return sent


def _first_waiting(queue: LimitedQueue) -> Ticket | None:
    """The first waiting token of a limited queue; entries before that are dropped."""
    entries = queue.queue
    while entries:
        if entries[0].stage is WAITING:
            return entries[0]
        entries.popleft()
        queue.gone -= 1
    return None


def _may_enter(ticket: Ticket, door: Lane, *, late: bool) -> bool:
    if not door.queue:
        return True
    return not late and ticket.number < door.queue[0].number
