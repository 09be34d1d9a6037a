"""Handover: one process of a core takes over from another that is still at work.

Each process has a *seat*, under which its outcomes are accounted. That of the process which gets a
core's tokens is the core's number. When it is *relieved*, it gets a seat beyond those of all cores,
and takes along what it holds; the core's book is empty then, and its next process starts with that.
So the core goes on at once, while the old process is *draining*: it finishes what it has, however
long that takes; and tokens that are made inside those, and stay with them, are accounted there too.

A process may have a *quota* of tokens. When it has been sent that many, its core is closed until
another process has taken over.
"""

from __future__ import annotations

from collections.abc import Callable

from tokengate_mp.scheduling.cores.ledger import UNLIMITED, Book, Ledger
from tokengate_mp.scheduling.model.ticket import Ticket


class Handover:
    """The seats of all processes, and the quota of each that gets a core's tokens.

    Args:
        ledger: The books of all seats.
        withdraw: Lets tokens wait again that are in a core's book and have not been sent to it.
    """

    __slots__ = ("_free", "_ledger", "_withdraw")

    def __init__(self, ledger: Ledger, withdraw: Callable[[int], object]) -> None:
        self._ledger = ledger
        self._withdraw = withdraw
        self._free: list[int] = []

    def begin_process(self, core: int, quota: int | None) -> None:
        """Count anew for a core's next process, which gets tokens once the core is ready.

        Args:
            core: The core.
            quota: The most tokens that the process will be sent; None: any number.
        """
        book = self._ledger[core]
        book.quota = UNLIMITED if quota is None else quota
        book.before = book.answered

    def relieve(self, core: int) -> int:
        """Send a core's process no more tokens, and give the seat for the tokens that stay.

        The core is not ready any more.
        """
        self._withdraw(core)  # else this process would be waited for to answer for it, for ever
        ledger, book = self._ledger, self._ledger[core]
        if self._free:
            seat = self._free.pop()
        else:
            ledger.books.append(Book(core))
            seat = len(ledger.books)
        own = ledger[seat]
        own.core, own.bit, own.ready = core, 0, book.ready
        # The core's book goes on as if its process had died, and lost nothing.
        own.held, own.load, own.stuck = book.held, book.load, book.stuck
        own.blocked = book.blocked
        book.held, book.load, book.blocked = {}, 0, set()
        ledger.strike_off(book)
        ledger.draining.add(seat)
        return seat

    def end_draining(self, seat: int) -> None:
        """Free the seat of a process that was relieved, has ended, and whose tokens are settled."""
        own = self._ledger[seat]
        book = self._ledger[own.core]
        book.answered += own.answered
        book.before += own.answered
        own.answered = 0
        own.ready = False
        self._ledger.draining.discard(seat)
        self._free.append(seat)

    def holder_seat(self, ticket: Ticket) -> int:
        """The seat of the process that holds a token; 0 if none does."""
        core = ticket.core
        if core is None:
            return 0
        if ticket.number in self._ledger[core].held:
            return core
        held = (s for s in self._ledger.draining if ticket.number in self._ledger[s].held)
        return next(held, 0)

    def answered_by_process(self, core: int) -> int:
        """How many outcomes the process that gets a core's tokens has given."""
        book = self._ledger[core]
        return book.answered - book.before

    def is_closed(self, core: int) -> bool:
        """Whether the process that gets a core's tokens was sent its whole quota."""
        return self._ledger[core].quota <= 0
