"""Routing: which waiting token goes to which core.

Cores are served in passes, and in each pass share by share (see `weights`), the narrowest range
first: on a core that several classes may use, they come first in that order.

0. What is pinned to a core goes there before anything else does, and nowhere else.
1. Little work goes where it disturbs nobody: to a core at home that is busy with little, so that
   none is woken for it; and while the parent is busy making more such tokens, rather to a core that
   does not share its CPU, if cores borrow.
2. Cores that hold nothing: each gets a helping, from the classes at home there; under
   work-conserving routing, one that gets none so borrows from any lane.
3. All cores that are *open*, which means that they have room in their window (see `pacing`), in
   rounds of a helping each, until they are full or the lanes are empty: again those at home first,
   and then those that borrow.

So no core goes without while another one is given more than a helping. A borrowed core gives way to
its own classes at the very next order; what was sent to it by then is a window at most.
"""

from __future__ import annotations

from typing import Final

from tokengate_mp.config.options import Weight
from tokengate_mp.config.settings import Routing
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.ledger import Book, Ledger
from tokengate_mp.scheduling.model import pacing
from tokengate_mp.scheduling.model.pacing import (
    LEAST_NS,
    LITTLE_NS,
    MAX_HELD,
    WINDOW_NS,
)
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import (
    ALL_CORES,
    Cores,
    Position,
    Share,
    members,
    shares,
)
from tokengate_mp.scheduling.waiting.gate import Gate
from tokengate_mp.scheduling.waiting.lane import Lane

WAITING: Final = TokenState.WAITING
ADMITTED: Final = TokenState.ADMITTED

_ALL: Final = 1 << 62
"""A helping that leaves nothing for which there is room."""


class Router:
    """Moves tokens from the gate's lanes to the ledger's books.

    Args:
        gate: Where tokens wait.
        ledger: Where it is noted which core each was sent to.
        routing: Whether cores borrow.

    Attributes:
        reach: The cores that tokens of each class may be sent to.
    """

    __slots__ = ("_borrows", "_gate", "_ledger", "_shares", "reach")

    def __init__(self, gate: Gate, ledger: Ledger, routing: Routing) -> None:
        self._gate = gate
        self._ledger = ledger
        self._shares = shares(len(ledger.books))
        self._borrows = routing == "work_conserving"
        self.reach: dict[Weight, Cores] = {
            weight: ALL_CORES if self._borrows else share.home
            for share in self._shares
            for weight in share.classes
        }
        for weight, lane in gate.lanes.items():
            lane.reach = self.reach[weight]

    def route(self, now: int) -> dict[int, list[Ticket]]:
        """Send out as much as there is room for: the tokens for each core, now ADMITTED."""
        orders: dict[int, list[Ticket]] = {}
        ledger, gate = self._ledger, self._gate
        if not ledger.open:
            return orders
        ledger.window = self._window(now)
        if gate.wanted:
            self._serve_pinned(orders, now)
        if not (served := self._with_waiting()):
            return orders
        for share in served:
            if not share.home & ledger.ready & ~ledger.idle:
                share.position.go_to_front()
        if ledger.idle:
            # Where all are idle, and none beside the parent, there is none that little work suits.
            little = ledger.beside or ledger.idle != ledger.ready
            if little and self._place_little(served, orders, now):
                served = self._with_waiting()
            served = self._pass(served, orders, now, idle=True)
        if served and ledger.open:
            self._pass(served, orders, now, idle=False)
        if gate.wanted:  # tokens that waited for the first of their key to be sent, just now
            self._serve_pinned(orders, now)
        return orders

    def _window(self, now: int) -> int:
        """Work that a core may hold at `now`, ns."""
        work = 0
        for lane in self._gate.lanes.values():
            if not lane.queue:
                if now - lane.sent_at < pacing.QUIET_NS:
                    return WINDOW_NS
            elif (operation := lane.queue[0].operation).recent:
                work += len(lane.queue) * operation.cost  # the first token stands for all
        return pacing.window(work, len(self._ledger.books), self._ledger.away)

    def _serve_pinned(self, orders: dict[int, list[Ticket]], now: int) -> None:
        """Give open cores their pinned tokens."""
        gate = self._gate
        for core in members(gate.wanted & self._ledger.open):
            self._fill_book(self._ledger[core], gate.pinned[core], _ALL, orders, now)
            gate.lane_served(gate.pinned[core])

    def _with_waiting(self) -> list[Share]:
        """The shares that have anything to hand out: often, after a single token, none has."""
        lanes = self._gate.lanes
        found: list[Share] = []
        for share in self._shares:
            for weight in share.classes:
                if lanes[weight].queue:
                    found.append(share)
                    break
        return found

    def _place_little(self, served: list[Share], orders: dict[int, list[Ticket]], now: int) -> bool:
        """Place whole lanes that come to little work; False if there was none."""
        lanes = self._gate.lanes
        before = len(orders)
        for share in served:
            for weight in share.in_turn():
                lane = lanes[weight]
                if not lane.queue:
                    continue
                waiting = len(lane.queue) * lane.queue[0].operation.cost
                core = self._core_for_little(share, waiting) if waiting <= LITTLE_NS else 0
                if core and self._fill_book(self._ledger[core], lane, waiting, orders, now):
                    share.end_turn(weight)
        return len(orders) > before

    def _core_for_little(self, share: Share, waiting: int) -> int:
        """The core to give little work to, without waking another that need not be; or 0."""
        ledger = self._ledger
        beside, idle = ledger.beside, ledger.idle
        apart = ledger.open & ~beside
        most = pacing.nearly_dry(WINDOW_NS) if beside and not idle & ~beside else LEAST_NS
        ranges = (share.home, ~share.home) if beside and self._borrows else (share.home,)
        for cores in ranges:
            for core in members(cores & apart & ~idle):
                if ledger[core].load + waiting <= most:
                    return core
        if beside:
            for cores in ranges:
                for core in members(cores & apart & idle):
                    return core
        return 0

    def goes_home(self, ticket: Ticket, core: int) -> bool:
        """Whether a token that has just got into its lane can go to a core where its data is warm.

        That is so where it disturbs nothing: no other token waits, and the core has room, and is
        idle itself or has none beside it that is. The token is taken out of its lane then.
        """
        ledger, lane = self._ledger, self._gate.lanes[ticket.operation.weight]
        bit, reach = 1 << core, self.reach[ticket.operation.weight]
        if not ledger.open & reach & bit or (ledger.idle & reach and not ledger.idle & bit):
            return False
        book = ledger[core]
        if book.load + ticket.operation.cost > WINDOW_NS and book.held:
            return False
        if len(self._with_waiting()) != 1 or len(lane.queue) != 1 or lane.queue[0] is not ticket:
            return False
        lane.queue.popleft()
        return True

    def place(self, ticket: Ticket, book: Book, now: int) -> None:
        """Put a token that is in no lane into a book, as ADMITTED."""
        operation = ticket.operation
        ticket.stage = ADMITTED
        ticket.core = book.core
        ticket.cost = operation.cost
        ticket.admitted = now
        book.held[ticket.number] = ticket
        if operation.limit is not None:
            operation.limit.held += 1
        book.quota -= 1
        self._ledger.add_load(book, ticket.cost, self.reach[operation.weight], now)
        if book.quota <= 0:
            self._ledger.close_book(book)

    def starving(self) -> Cores:
        """Idle cores for which nothing waits."""
        starving = self._ledger.idle
        for weight, lane in self._gate.lanes.items():
            if lane:
                starving &= ~self.reach[weight]
        return starving

    def _pass(
        self, served: list[Share], orders: dict[int, list[Ticket]], now: int, *, idle: bool
    ) -> list[Share]:
        """Serve the idle cores once, or all that are open, round by round.

        Returns:
            The shares that still have something to hand out.
        """
        ledger = self._ledger
        given = True
        while given:
            given = False
            for share in served:
                cores = ledger.idle if idle else ledger.open
                given |= self._help_each(share, cores & share.home, share.position, orders, now)
            served = self._with_waiting()
            if self._borrows and served:
                at_home = 0  # cores for which something of their own still waits
                for share in served:
                    at_home |= share.home
                for share in served:
                    cores = (ledger.idle if idle else ledger.open) & ~at_home
                    given |= self._help_each(share, cores, share.away, orders, now)
                served = self._with_waiting()
            if idle or not served or not ledger.open:
                break
        return served

    def _help_each(
        self,
        share: Share,
        cores: Cores,
        position: Position,
        orders: dict[int, list[Ticket]],
        now: int,
    ) -> bool:
        """Give each of `cores` a helping from the lanes of a share; False if none got any."""
        ledger, lanes = self._ledger, self._gate.lanes
        given = False
        while cores:
            for weight in share.in_turn():
                lane = lanes[weight]
                if lane.queue:
                    break
            else:
                break
            # The first token's cost stands for all: it only says how finely to spread them.
            waiting = len(lane.queue) * lane.queue[0].operation.cost
            rivals = ledger.open & self.reach[weight]
            helping = pacing.helping(waiting, rivals.bit_count(), ledger.window)
            core = position.pick(cores)
            cores &= ~(1 << core)
            share.take_turn(weight)
            spent = self._fill_book(ledger[core], lane, helping - share.given, orders, now)
            given |= spent > 0
            share.given += spent
            # A class that was given what little room was left has the rest of its turn to come.
            if not lane.queue or share.given + lane.queue[0].operation.cost > helping:
                share.end_turn(weight)
        return given

    def _fill_book(  # noqa: C901 - one loop for all tokens, so without calls
        self, book: Book, lane: Lane, helping: int, orders: dict[int, list[Ticket]], now: int
    ) -> int:
        """Give a core a helping from a lane, and return the charge, ns.

        The core stays open until there turns out to be no room for a token: what fits depends on
        the token, since long ones that fit no window go by their number (see `pacing.floor`).
        """
        queue, held, core = lane.queue, book.held, book.core
        window = self._ledger.window
        room, nearly_dry = window - book.load, pacing.nearly_dry(window)
        either = min(helping, room)
        spent = 0
        full = False
        batch: list[Ticket] = []
        places = MAX_HELD - len(held)
        if book.quota < places:  # noqa: PLR1730 - a call, on the way of every token
            places = book.quota
        for _ in range(places):
            if not queue:
                break
            ticket = queue.popleft()
            if ticket.stage is not WAITING:
                lane.gone -= 1
                continue
            operation = ticket.operation
            cost = operation.cost
            if spent + cost > either:
                served = bool(batch) and spent + cost > helping
                # Beside those that block, one that computes (and no other) has the CPU for itself;
                # unless it has to be alone.
                beside = not operation.exclusive
                computes = operation.recent and not operation.blocking and beside
                before = spent - book.spared if computes else spent
                floor = max(operation.floor, book.floor) if beside else operation.floor
                full = (
                    before + cost > room and book.load + before > nearly_dry and len(held) >= floor
                )
                if served or full:
                    queue.appendleft(ticket)
                    break
            ticket.stage = ADMITTED
            ticket.core = core
            ticket.cost = cost
            ticket.admitted = now
            held[ticket.number] = ticket
            batch.append(ticket)
            spent += cost
        if batch:
            lane.sent_at = now
            book.quota -= len(batch)
            self._ledger.add_load(book, spent, lane.reach, now)
            if self._gate.sticky.unplaced:
                self._gate.pin_keys(batch, core)
            if core in orders:
                orders[core] += batch
            else:
                orders[core] = batch
        if book.quota <= 0:
            self._ledger.close_book(book)
        elif full or len(held) >= MAX_HELD:
            self._ledger.open &= ~(1 << core)
        return spent
