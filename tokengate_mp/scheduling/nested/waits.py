"""Waits: which thread waits for which token, and whether a token would wait for ever.

A limit holds back a token that others wait for, like any other token; but not if no token that the
limit counts can go on before that token has ended. Whether any can is asked of all of them, and of
the tokens that they wait for in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.nested.facts import Holdings, NestedTicket, Seat

Asker = Callable[[Ticket, Seat], object]
"""Has the process on a seat give back a token that it has not begun."""


class _Node(NamedTuple):
    """Dependence of a token: whether all or any of some others have to go on first."""

    every: bool
    others: Sequence[Ticket]


_FREE = _Node(every=True, others=())


class Waits:
    """The waits that core processes have told of.

    A waiter that is a token goes by its number; a thread that runs no token (it is the user's own)
    by minus the number of its core.

    Args:
        holdings: Which process holds which token.
        seats: The process on each seat.
    """

    __slots__ = ("_awaited", "_holdings", "_seats", "_waiters")

    def __init__(self, holdings: Holdings, seats: Mapping[int, Seat]) -> None:
        self._holdings = holdings
        self._seats = seats
        self._awaited: dict[int, dict[int, NestedTicket]] = {}
        self._waiters: dict[int, Counter[int]] = {}

    def add_wait(self, number: int, core: int, ticket: NestedTicket) -> None:
        """Remember that a thread waits for a token.

        Args:
            number: The token that the thread runs; 0 if it is a thread of the user's own.
            core: Its core.
            ticket: The token that it waits for.
        """
        waiter = number or -core
        self._awaited.setdefault(waiter, {})[ticket.number] = ticket
        self._waiters.setdefault(ticket.number, Counter())[waiter] += 1

    def end_waits_for(self, number: int) -> None:
        """Forget all waits for a token that has ended, or that nobody waits for any more."""
        for waiter in self._waiters.pop(number, ()):
            awaited = self._awaited[waiter]
            del awaited[number]
            if not awaited:
                del self._awaited[waiter]

    def end_waits_of(self, waiter: int) -> None:
        """Forget all waits of a token that was ended: another that waits may be alone now."""
        for number in self._awaited.pop(waiter, ()):
            waiters = self._waiters[number]
            del waiters[waiter]
            if not waiters:
                del self._waiters[number]

    def awaited_alone(self, waiter: int) -> list[NestedTicket]:
        """The tokens that a token waits for, and nothing else does."""
        mine = self._awaited.get(waiter, {}).values()
        return [ticket for ticket in mine if len(self._waiters[ticket.number]) == 1]

    def has_other_waiter(self, number: int, waiter: int) -> bool:
        """Whether anything but `waiter` has said to wait for a token."""
        return any(each != waiter for each in self._waiters.get(number, ()))

    def stalls(self, ticket: Ticket, ask_back: Asker) -> bool:
        """Whether a token that its limit holds back would wait for ever, if held back always.

        Args:
            ticket: The token.
            ask_back: Called for each token that lies in a process of which every thread waits: it
                can go on elsewhere, once it is given back.
        """
        nodes: dict[int, _Node] = {}
        left: list[Ticket] = [ticket]
        while left:
            each = left.pop()
            if each.number not in nodes:
                node = nodes[each.number] = self._node(each, ask_back)
                left += node.others
        going: set[int] = set()
        unsure = list(reversed(nodes.items()))  # what others wait for was found after them
        while True:
            still = []
            for number, (every, others) in unsure:
                goes = [other.number in going for other in others]
                if all(goes) if every else any(goes):
                    going.add(number)
                else:
                    still.append((number, nodes[number]))
            if len(still) == len(unsure) or not still:
                return ticket.number not in going
            unsure = still

    def _node(self, ticket: Ticket, ask_back: Asker) -> _Node:
        limit = ticket.operation.limit
        if ticket.stage is TokenState.WAITING and limit is not None and limit.room <= 0:
            return _Node(every=False, others=self._holdings.counted_by(limit))
        seat = self._seats.get(self._holdings.seat_of(ticket))
        if seat is None:
            return _FREE
        if ticket.stage is TokenState.ADMITTED:
            return self._held_node(ticket, seat, ask_back)
        # It was ended, and counts until its core answers: when its thread has done with what was
        # begun on top of it, or else comes to it.
        if seat.waits() and ticket.number not in seat.running():
            ask_back(ticket, seat)
        return _Node(every=True, others=self._above(ticket, seat))

    def _above(self, ticket: Ticket, seat: Seat) -> list[Ticket]:
        """The token that the thread of a token has begun on top of that, if any, in a list."""
        return [*self._holdings.held_among(seat.seat, [seat.on_top.get(ticket.number, 0)])]

    def _held_node(self, ticket: Ticket, seat: Seat, ask_back: Asker) -> _Node:
        core = seat.core
        running = seat.running()
        if ticket.number in running:
            # It may have started the thread of the user's own, and wait for that.
            own, others = self._awaited.get(ticket.number, {}), self._awaited.get(-core, {})
            above = self._above(ticket, seat)
            return _Node(every=True, others=[*own.values(), *others.values(), *above])
        if not seat.waits():
            return _FREE
        if self._holdings.is_bound(ticket):
            # It can be run there alone, by a thread that has done with the token that it runs.
            return _Node(every=False, others=self._holdings.held_among(seat.seat, running))
        ask_back(ticket, seat)
        return _FREE

    def validate(self, claimed: Iterable[int]) -> None:
        """Check the invariants.

        Args:
            claimed: The numbers of all claimed tokens.

        Raises:
            AssertionError: One is broken.
        """
        for waiter, awaited in self._awaited.items():
            assert awaited, f"{waiter} waits for nothing"
            for number, ticket in awaited.items():
                assert ticket.number == number, f"{number} is {ticket.number}"
                assert waiter in self._waiters.get(number, ()), f"{waiter} waits, unknown"
        for number, waiters in self._waiters.items():
            assert waiters, f"{number} is waited for by nobody"
            for waiter in waiters:
                assert number in self._awaited.get(waiter, ()), f"{number}: {waiter} is unknown"
        assert self._waiters.keys() <= set(claimed), "a token is waited for, and not claimed"
