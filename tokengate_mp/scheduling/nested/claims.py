"""Claims: a thread that waits for a token had better run it itself than wait.

So it claims the token: as long as that waits in the parent, it is sent to the thread's core before
all others, whatever the core's window, and the token's weight class. A token that lies unbegun in
another core, of which every thread waits as well, is called back first. So of the tokens that are
waited for, one can always go on, with however few threads. (A limit on its operation holds a token
back nevertheless, as long as that can pass: see `waits`.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import as_set
from tokengate_mp.scheduling.nested.facts import Holdings, NestedTicket, Placement, Seat
from tokengate_mp.scheduling.nested.waits import Waits

LOOKED_OVER: Final = 16
"""How many granted claims are looked over in a turn, on average."""


@dataclass(slots=True)
class ClaimOrders:
    """Orders for the sake of threads that wait, in the sequence of execution.

    Attributes:
        send: Tokens that are ADMITTED now, each with the seat to send it to.
        hint: Processes to be told which dependencies a token has that they claim, since they may
            run these first: the seat, the token's number, and its dependencies.
        recall: Seats whose processes are asked for what they have not begun.
    """

    send: list[tuple[Ticket, int]] = field(default_factory=list)
    hint: list[tuple[int, int, list[Ticket]]] = field(default_factory=list)
    recall: list[int] = field(default_factory=list)


class Claims:
    """The claims of all processes.

    Args:
        placement: Places claimed tokens.
        holdings: Which process holds which token.
        seats: The process on each seat.
        waits: Which thread waits for which token.

    Attributes:
        pending: The tokens that threads wait for, by number, each with the process that claims it.
        granted: Claimed tokens that were sent to the process that claims them.
    """

    __slots__ = (
        "_asked",
        "_hinted",
        "_holdings",
        "_placement",
        "_restless",
        "_seats",
        "_turns",
        "_waits",
        "granted",
        "pending",
    )

    def __init__(
        self, placement: Placement, holdings: Holdings, seats: Mapping[int, Seat], waits: Waits
    ) -> None:
        self._placement = placement
        self._holdings = holdings
        self._seats = seats
        self._waits = waits
        self._turns = 0
        # When each token was last sent to the process that was asked for it. (Not by number: a
        # token that a claimed one lies behind is asked for too, and never claimed.)
        self._asked: WeakKeyDictionary[Ticket, int] = WeakKeyDictionary()
        self._hinted: dict[int, Seat] = {}
        self.pending: dict[int, tuple[NestedTicket, Seat]] = {}
        self.granted: dict[int, tuple[NestedTicket, Seat]] = {}
        self._restless = False  # whether to look over all granted claims at the next turn

    # ---- facts

    def claim(self, ticket: NestedTicket, claimant: Seat, waiter: int) -> None:
        """Take in that a thread waits for a token.

        Args:
            ticket: The token.
            claimant: The thread's process.
            waiter: The number of the token that the thread runs; 0 for a thread of the user's own.
        """
        if ticket.stage.ended:
            return
        self.granted.pop(ticket.number, None)
        self.pending[ticket.number] = ticket, claimant
        self._waits.add_wait(waiter, claimant.core, ticket)

    def tokens_wait_again(self) -> None:
        """Take in that tokens wait which had been sent: granted claims may be among them."""
        self._restless = True

    def withdraw_process(self, claimant: Seat) -> None:
        """Drop the claims of a process that has ended."""
        for number, (_ticket, own) in [*self.pending.items(), *self.granted.items()]:
            if own is claimant:
                self._drop_claim(number)
        self._restless = True

    # ---- orders

    def grant(self, now: int) -> ClaimOrders:
        """Send claimed tokens that wait in the parent to the processes that claim each.

        Args:
            now: The time, ns.
        """
        orders = ClaimOrders()
        if self.granted:
            self._look_over()
        self._drop_ended()
        waiting_seats = [number for number, seat in self._seats.items() if seat.waits()]
        waiting = as_set(waiting_seats)

        def stalled(ticket: Ticket) -> bool:
            return self._waits.stalls(ticket, ask_back)

        sent: set[int] = set()

        def ask_back(ticket: Ticket, holder: Seat) -> None:
            if ticket.number not in sent:  # else a thread that waits for it is about to begin it
                self._ask_back(ticket, holder, orders.recall)

        for number, (ticket, claimant) in list(self.pending.items()):
            if self._placement.claimed(ticket, claimant.seat, waiting, now, stalled):
                orders.send.append((ticket, claimant.seat))
                sent.add(number)
                self.granted[number] = self.pending.pop(number)
            else:
                self._help_along(ticket, claimant, orders)
        if len(self._seats) > 1:
            # Send no more to processes of which every thread waits: others can begin at once.
            for number in waiting_seats:
                self._placement.all_threads_wait(number)
        return orders

    def _help_along(self, ticket: NestedTicket, claimant: Seat, orders: ClaimOrders) -> None:
        """Hint at the dependencies of a claimed token, or recall a token that cannot be begun."""
        if ticket.dependencies and self._hinted.get(ticket.number) is not claimant:
            self._hinted[ticket.number] = claimant
            lacking = [each for each in ticket.dependencies if not each.stage.ended]
            orders.hint.append((claimant.seat, ticket.number, lacking))
        elif ticket.stage is TokenState.ADMITTED:
            holder = self._holder(ticket)
            if holder is not None and holder is not claimant and holder.waits():
                self._ask_back(ticket, holder, orders.recall)

    def overdue_recalls(self, before: int) -> list[int]:
        """Seats to ask for claimed tokens that were sent to another core `before` some time, ns."""
        recall: list[int] = []
        for ticket, claimant in self.pending.values():
            if ticket.stage is TokenState.ADMITTED and ticket.admitted < before:
                holder = self._holder(ticket)
                if holder is not None and holder is not claimant:
                    self._ask_back(ticket, holder, recall)
        return recall

    def _look_over(self) -> None:
        """Find granted claims that are over, or to be granted again.

        Seldom: a deep recursion has thousands, of which hardly any has changed since.
        """
        self._turns += 1
        if not self._restless and self._turns * LOOKED_OVER < len(self.granted):
            return
        self._turns, self._restless = 0, False
        for number, (ticket, _) in list(self.granted.items()):
            if ticket.stage.ended:
                self._drop_claim(number)
            elif ticket.stage is not TokenState.ADMITTED:
                self.pending[number] = self.granted.pop(number)

    def _drop_ended(self) -> None:
        """Drop the pending claims of tokens that have ended: the threads that wait go on."""
        for number in [n for n, (ticket, _) in self.pending.items() if ticket.stage.ended]:
            self._drop_claim(number)

    def _drop_claim(self, number: int) -> None:
        claimed = self.pending.pop(number, None) or self.granted.pop(number, None)
        if claimed is not None:
            self._asked.pop(claimed[0], None)
        self._hinted.pop(number, None)
        self._waits.end_waits_for(number)

    def _holder(self, ticket: Ticket) -> Seat | None:
        """The process that was sent a token."""
        return self._seats.get(self._holdings.seat_of(ticket))

    def _ask_back(self, ticket: Ticket, holder: Seat, recall: list[int]) -> None:
        """Have an unbegun token given back: once for each time that the token was sent."""
        if self._asked.get(ticket) != ticket.admitted:
            self._asked[ticket] = ticket.admitted
            if ticket.number not in holder.running():
                recall.append(holder.seat)

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        assert not self.pending.keys() & self.granted.keys(), "a claim is pending, and granted"
        claimed = self.pending.keys() | self.granted.keys()
        assert self._hinted.keys() <= claimed, "a hint about a token that is not claimed"
        self._waits.validate(claimed)
