"""Assignment: moving waiting tokens to cores, with an order or for a claim.

An order is made of what the router sends from the lanes, of what was placed since the last order,
and of what is held for the core of its chain.
"""

from __future__ import annotations

from collections.abc import Callable

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.homeward import Homeward
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.cores.limited_admission import LimitedAdmission
from tokengate_mp.scheduling.cores.routing import Router
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores
from tokengate_mp.scheduling.nested.conductor import Conductor
from tokengate_mp.scheduling.operations import OperationRegistry
from tokengate_mp.scheduling.waiting.gate import Gate

WAITING = TokenState.WAITING


class Assignment:
    """Sends tokens to cores.

    Args:
        gate: Where tokens wait.
        ledger: The tokens that each core holds.
        router: Chooses cores for the tokens in the lanes.
        conductor: Chains, and tokens that are held for their cores.
        operations: Says whether any operation has a concurrency limit.

    Attributes:
        homeward: Tokens that were placed with a core, and go there with the next order.
        paused: Whether admission is paused: no token is sent or placed.
    """

    __slots__ = (
        "_conductor",
        "_gate",
        "_ledger",
        "_limited_admission",
        "_operations",
        "_router",
        "homeward",
        "paused",
    )

    def __init__(
        self,
        gate: Gate,
        ledger: Ledger,
        router: Router,
        conductor: Conductor,
        operations: OperationRegistry,
    ) -> None:
        self._gate = gate
        self._ledger = ledger
        self._router = router
        self._conductor = conductor
        self.homeward = Homeward()
        self._operations = operations
        self._limited_admission = LimitedAdmission(gate, ledger, router)
        self.paused = False

    def assign(self, now: int) -> dict[int, list[Ticket]]:
        """Send waiting tokens (see `Scheduler.assign`)."""
        if self.paused:
            return {}
        gate, conductor = self._gate, self._conductor
        if gate.sticky.leaving:
            gate.sticky.expire_pins(now)
        if not (conductor.held or gate.has_any() or self.homeward):
            return {}
        # (Not "if any waits for room": with a key, more may come to do so within this order.)
        if self._operations.any_limited:
            orders = self._limited_admission.route_limited(now)
        else:
            orders = self._router.route(now)
        if self.homeward:
            for core, tickets in self.homeward.take_all().items():
                held = self._ledger[core].held
                sent = [ticket for ticket in tickets if ticket.number in held]
                orders[core] = sent + orders.get(core, [])
        if conductor.members:
            self._conduct(orders, now)
        return orders

    def _conduct(self, orders: dict[int, list[Ticket]], now: int) -> None:
        """Pin the chains of leads that are sent, and send tokens that are held for their chain."""
        conductor = self._conductor
        if conductor.unlanded:
            for core, tickets in orders.items():
                for ticket in tickets:
                    conductor.pin_chain(ticket.number, core)
        if conductor.held:
            for ticket, core in conductor.take_sendable(self._ledger.ready, self._gate.paused):
                self._router.place(ticket, self._ledger[core], now)
                orders.setdefault(core, []).append(ticket)

    def claim(
        self,
        ticket: Ticket,
        core: int,
        waiting: Cores,
        now: int,
        stalled: Callable[[Ticket], bool],
    ) -> bool:
        """Place a claimed token with the core that claims (see `Scheduler.claimed`)."""
        book = self._ledger[core]
        if ticket.stage is not WAITING or self.paused or not book.ready:
            return False
        limit = ticket.operation.limit
        if limit is not None and limit.room <= 0 and not stalled(ticket):
            return False
        if ticket.number in self._conductor.held:
            return False  # it is on its way to its chain's core
        if not self._gate.take_early(ticket, book.core, waiting):
            return False  # its operation is paused, or it is not yet to run (again)
        self._router.place(ticket, book, now)
        self._conductor.pin_chain(ticket.number, book.core)
        return True

    def place_member(self, ticket: Ticket, seat: int, now: int) -> None:
        """Place a token that is on its chain's core already, with the process on a seat."""
        self._router.place(ticket, self._ledger[seat], now)

    def place_at_home(self, ticket: Ticket, core: int, now: int) -> None:
        """Place a token that has just got into its lane, if that disturbs nothing."""
        if not self.paused and self._router.goes_home(ticket, core):
            self._router.place(ticket, self._ledger[core], now)
            self.homeward.await_order(ticket, core)

    def take_back_unsent(self, core: int) -> list[Ticket]:
        """Take the tokens out of a core's book that go there with the next order."""
        book = self._ledger[core]
        unsent = [t.number for t in self.homeward.take_core(core) if t.number in book.held]
        if not unsent:
            return []
        tickets = book.take_back(unsent)
        self._ledger.update_room(book)
        return tickets
