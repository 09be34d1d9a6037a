"""Facts that the decisions about nested tokens are made from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores


class NestedTicket(Ticket, Protocol):
    """A token that was made inside another."""

    @property
    def dependencies(self) -> Sequence[Ticket]:
        """The tokens whose values the call takes; none once the call has ended."""

    @property
    def visible(self) -> bool:
        """Whether the caller has got the token, or can: in the result of another."""


class Seat(Protocol):
    """A core process, as far as waiting threads are concerned."""

    @property
    def seat(self) -> int:
        """The seat under which the ledger accounts for the process; another once relieved."""

    @property
    def core(self) -> int:
        """Its core."""

    @property
    def on_top(self) -> Mapping[int, int]:
        """By the number of a token that waits: the token that its thread runs meanwhile."""

    def running(self) -> Collection[int]:
        """The numbers of the tokens that its crew has begun, and not answered for."""

    def waits(self) -> bool:
        """Whether every thread of its crew waits for a token."""


class Holdings(Protocol):
    """Which process holds which token (see `accounts.Accounts`)."""

    def seat_of(self, ticket: Ticket, /) -> int:
        """The seat of the process that holds a token; 0 if none does."""

    def held_ticket(self, seat: int, number: int, /) -> Ticket | None:
        """The token of a number that the process on a seat holds; None if there is none."""

    def held_among(self, seat: int, numbers: Iterable[int], /) -> Sequence[Ticket]:
        """The tokens among `numbers` that the process on a seat holds."""

    def counted_by(self, limit: ConcurrencyLimit, /) -> Sequence[Ticket]:
        """Tokens of a limited operation that cores hold."""

    def is_bound(self, ticket: Ticket, /) -> bool:
        """Whether a token was made in a chain, and so runs on the chain's core alone."""


class Placement(Protocol):
    """Places tokens with cores (see `scheduler.Scheduler`)."""

    def claimed(
        self,
        ticket: Ticket,
        core: int,
        waiting: Cores,
        now: int,
        stalled: Callable[[Ticket], bool],
        /,
    ) -> bool:
        """Place a token with a core of which a thread waits for that token."""

    def all_threads_wait(self, core: int, /) -> None:
        """Send a core no more until the core has answered something."""
