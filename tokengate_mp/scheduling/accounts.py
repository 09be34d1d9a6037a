"""The accounts: where every token is.

A waiting token is at the gate or held for its chain's core; an admitted one is in the ledger. What
is asked here changes nothing.

Everything but `unended_count` and `has_unended` is for the engine's thread alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter

from tokengate_mp.scheduling.cores.handover import Handover
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.nested.conductor import Conductor
from tokengate_mp.scheduling.snapshot import TicketStory, tell_story
from tokengate_mp.scheduling.waiting.dependencies import Dependencies
from tokengate_mp.scheduling.waiting.gate import Gate


class Accounts:
    """Finds tokens.

    Args:
        gate: Tokens in lanes, and outside of them.
        ledger: Tokens that cores hold.
        handover: The seats of processes.
        conductor: Tokens that are held for their chain's core.
        dependencies: Tokens that wait for others to end.
    """

    __slots__ = ("_conductor", "_dependencies", "_gate", "_handover", "_ledger")

    def __init__(
        self,
        gate: Gate,
        ledger: Ledger,
        handover: Handover,
        conductor: Conductor,
        dependencies: Dependencies,
    ) -> None:
        self._gate = gate
        self._ledger = ledger
        self._conductor = conductor
        self._handover = handover
        self._dependencies = dependencies

    # ---- how many

    @property
    def waiting_count(self) -> int:
        """How many tokens wait."""
        return len(self._gate) + len(self._conductor.held)

    @property
    def has_waiting(self) -> bool:
        """Whether any lane has an entry, waiting or gone, or a chain holds a token."""
        return bool(self._conductor.held) or self._gate.has_any()

    @property
    def unended_count(self) -> int:
        """How many of the submitted tokens have not ended; in any thread."""
        return self._ledger.unended_count

    def has_unended(self) -> bool:
        """Whether a submitted token has not ended; in any thread."""
        return self._ledger.unended_count > 0

    # ---- which

    def waiting_tickets(self, operation: str | None = None) -> list[Ticket]:
        """All waiting tokens, or only an operation's."""
        waiting = (*self._gate, *self._conductor.held.values())
        return [t for t in waiting if operation is None or t.operation.name == operation]

    def unended(self) -> list[Ticket]:
        """All submitted tokens that have not ended, oldest first."""
        held = self._conductor.held.values()
        return sorted([*self._gate, *held, *self._ledger], key=attrgetter("number"))

    def find(self, number: int) -> Ticket | None:
        """The submitted, unended token of a number; None if there is none."""
        for book in self._ledger.books:
            if (ticket := book.held.get(number)) is not None:
                return None if ticket.stage.ended else ticket
        waiting = chain(self._conductor.held.values(), self._gate)
        return next((ticket for ticket in waiting if ticket.number == number), None)

    def story(self, ticket: Ticket) -> TicketStory:
        """The history of a token so far."""
        return tell_story(ticket, self._gate, self._ledger)

    # ---- what cores hold

    @property
    def has_room(self) -> bool:
        """Whether a core could take more."""
        return bool(self._ledger.open)

    def held_count(self, seat: int) -> int:
        """How many tokens the process on a seat was sent and has not answered for."""
        return len(self._ledger[seat].held)

    def held_ticket(self, seat: int, number: int) -> Ticket | None:
        """The token of a number that the process on a seat holds; None if there is none."""
        return self._ledger[seat].held.get(number)

    def held_among(self, seat: int, numbers: Iterable[int]) -> list[Ticket]:
        """The tokens among `numbers` that the process on a seat holds."""
        held = self._ledger[seat].held
        return [held[number] for number in numbers if number in held]

    def seat_of(self, ticket: Ticket) -> int:
        """The seat of the process that holds a token; 0 if none does."""
        return self._handover.holder_seat(ticket)

    def is_bound(self, ticket: Ticket) -> bool:
        """Whether a token was made in a chain, and so runs on the chain's core alone."""
        return self._conductor.is_member(ticket.number)

    def counted_by(self, limit: ConcurrencyLimit) -> list[Ticket]:
        """Tokens of a limited operation that cores hold."""
        held = (ticket for book in self._ledger.books for ticket in book.held.values())
        return [ticket for ticket in held if ticket.operation.limit is limit]

    def validate(self, limits: Iterable[ConcurrencyLimit]) -> None:
        """Check the invariants of all structures, and across structures.

        Args:
            limits: All concurrency limits.

        Raises:
            AssertionError: One is broken.
        """
        gate, ledger, conductor = self._gate, self._ledger, self._conductor
        gate.validate()
        ledger.validate()
        conductor.validate()
        for limit in limits:
            held = len(self.counted_by(limit))
            assert limit.held == held, f"{limit.name} counts {limit.held}, and cores hold {held}"
        unended = self.unended()
        count = ledger.unended_count
        assert len(unended) == count, f"{len(unended)} tokens have not ended, and {count} count"
        numbers = {ticket.number for ticket in unended}
        assert len(numbers) == len(unended), "a token is in two places"
        missing = {number for number, count in self._dependencies.missing.items() if count}
        assert missing <= gate.withheld.keys(), "a dependent waits, and is not withheld"
        assert numbers.issuperset(gate.sticky.members), "a key counts a token that has ended"
        assert numbers >= gate.taken.lanes.keys(), "a token that was taken early has ended"
        assert numbers >= conductor.members.keys(), "a chain counts a token that has ended"
