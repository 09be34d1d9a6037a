"""Orphans: tokens that are not wanted any more, because the token is gone that wanted them.

A token that was ended from outside, or lost with its process, takes along the tokens that it alone
waits for, those that these wait for in turn, and what it has made and nobody else can see. A
recursion without an end would otherwise go on without its caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Final

from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.nested.facts import Holdings, NestedTicket, Seat
from tokengate_mp.scheduling.nested.waits import Waits

WAITER_ENDED: Final = "the token that waited for it was ended"
MAKER_ENDED: Final = "the token that made it was ended"


class Orphans:
    """Finds orphans.

    Args:
        holdings: Which process holds which token.
        seats: The process on each seat.
        waits: Which thread waits for which token.
        find_nested: Gives the token of a number, if it was made inside a token.
        needed: Numbers of tokens that others depend on.
    """

    __slots__ = (
        "_find_nested",
        "_forsaken",
        "_holdings",
        "_needed",
        "_seats",
        "_taking",
        "_unreferenced",
        "_waits",
    )

    def __init__(
        self,
        holdings: Holdings,
        seats: Mapping[int, Seat],
        waits: Waits,
        find_nested: Callable[[int], NestedTicket | None],
        needed: Container[int],
    ) -> None:
        self._holdings = holdings
        self._seats = seats
        self._waits = waits
        self._find_nested = find_nested
        self._needed = needed
        self._forsaken: deque[Ticket] = deque()
        self._unreferenced: deque[NestedTicket] = deque()
        self._taking = False

    # ---- facts

    def waiter_ended(self, waiter: Ticket) -> None:
        """Let the tokens end that a token alone waits for which was ended itself."""
        self._forsaken.append(waiter)

    def found_waiting(self, seat: int, waiter: int) -> None:
        """Let tokens end if a token waits that was ended a moment ago, before that was known.

        Args:
            seat: The seat of its process.
            waiter: Its number.
        """
        ticket = self._holdings.held_ticket(seat, waiter)
        if ticket is not None and ticket.stage.ended:
            self.waiter_ended(ticket)

    def maker_ended(self, ticket: NestedTicket) -> None:
        """Let a token end to which no process refers, since the token's maker was ended."""
        self._unreferenced.append(ticket)

    # ---- orders

    def take_orphans(self) -> Iterator[tuple[NestedTicket, str]]:
        """The tokens to be killed, each with the reason.

        To kill a token is a fact in turn: what it alone waited for comes later in the same
        iteration, however deep that goes; an iteration within another gives nothing.
        """
        if self._taking:
            return
        self._taking = True
        try:
            while self._forsaken or self._unreferenced:
                while self._unreferenced:
                    ticket = self._unreferenced.popleft()
                    if self._may_end(ticket):
                        yield ticket, MAKER_ENDED
                if self._forsaken:
                    for ticket in self._only_for(self._forsaken.popleft()):
                        if self._may_end(ticket):
                            yield ticket, WAITER_ENDED
        finally:
            self._taking = False

    def _may_end(self, ticket: NestedTicket) -> bool:
        """Whether the caller has not got a token, nor can, and no other call needs its value."""
        return not (ticket.visible or ticket.stage.ended or ticket.number in self._needed)

    def _only_for(self, waiter: Ticket) -> list[NestedTicket]:
        """The tokens that a token alone waits for; the waits of that are forgotten."""
        tickets = self._waits.awaited_alone(waiter.number)
        self._waits.end_waits_of(waiter.number)
        holder = self._seats.get(self._holdings.seat_of(waiter))
        number = 0 if holder is None else holder.on_top.get(waiter.number, 0)
        above = self._find_nested(number)
        if above is not None and not self._waits.has_other_waiter(above.number, waiter.number):
            tickets.append(above)  # which it may never have claimed
        return tickets
