"""The ledger: the tokens each core was sent and has not answered for, and the counts.

A token is in exactly one place: in a lane of the gate, in the book of one core, or ended. (One that
is killed while a core holds it has ended, and stays in the book until the core answers: it takes
that core's time all the same.)

A core is chosen from a set, never core by core, so that a token costs the same however many cores
there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import attrgetter
from typing import Final

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model import pacing
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.model.weights import Cores

UNLIMITED: Final = 1 << 62
"""The quota of a process that may be sent any number of tokens."""

_cost: Callable[[Ticket], int] = attrgetter("cost")


class Book:
    """Account of a seat: the tokens that its process holds, and their cost.

    Attributes:
        core: Its number.
        held: The tokens it was sent and has not answered for, by number, in the order of sending.
        load: What they were charged, ns.
        blocked: The numbers of held tokens that were found to be blocked.
        reach: Where held tokens could run as well: the ranges of all classes that were sent since
            nothing was held.
        ready: Whether a process has taken over.
        bit: The core as a set; empty for the book of a draining process (see `handover`).
        quota: How many more tokens the process may be sent.
        closed: Whether the process is sent no more: it has had its whole quota, or is suspended.
        answered: Outcomes so far, over all processes of this seat.
        before: How many of these outcomes came from earlier processes.
        progress: When the process last answered, or was sent something while it held nothing, ns.
        floor: How many tokens may be held at any rate, because the crew had threads free.
        stuck: Whether tokens were given back and none has finished since: others that were sent
            now would lie there as those did.
    """

    __slots__ = (
        "answered",
        "before",
        "bit",
        "blocked",
        "closed",
        "core",
        "floor",
        "held",
        "load",
        "progress",
        "quota",
        "reach",
        "ready",
        "stuck",
    )

    def __init__(self, core: int) -> None:
        self.core = core
        self.bit: Cores = 1 << core
        self.quota = UNLIMITED
        self.closed = False
        self.before = 0
        self.held: dict[int, Ticket] = {}
        self.load = 0
        self.blocked: set[int] = set()
        self.reach: Cores = 0
        self.ready = False
        self.answered = 0
        self.progress = 0
        self.floor = 0
        self.stuck = False

    def strike(self, numbers: Iterable[int]) -> list[Ticket]:
        """Take tokens out of `held` by number, all or none; `load` is not changed.

        Raises:
            KeyError: The core does not hold one of them.
        """
        tickets: list[Ticket] = []
        try:
            tickets.extend(map(self.held.pop, numbers))
        except KeyError:
            # The tokens before the wrong number must not vanish: they are still to be ended.
            self.held.update((ticket.number, ticket) for ticket in tickets)
            raise
        if self.blocked:
            self.blocked.difference_update([ticket.number for ticket in tickets])
        return tickets

    def take_back(self, numbers: Iterable[int]) -> list[Ticket]:
        """Take tokens out of the book by number, all or none.

        Raises:
            KeyError: The core does not hold one of them.
        """
        tickets = self.strike(numbers)
        self.load -= sum(map(_cost, tickets))
        release_limits(tickets)
        return tickets

    def mark_blocked(self, numbers: Iterable[int]) -> None:
        """Count the held tokens among `numbers` as blocked, until each ends."""
        self.blocked.update(self.held.keys() & numbers)

    @property
    def spared(self) -> int:
        """The charge of blocked tokens, ns: time that computing tokens have beside such."""
        return sum([self.held[number].cost for number in self.blocked])

    def may_reopen(self, threads: int, window: int) -> bool:
        """Whether a core that was full should be offered tokens again."""
        if self.stuck or len(self.held) > pacing.FEWER_HELD:
            return False
        load = self.load - self.spared  # whether for the next token that counts, is seen there
        return load <= pacing.low_water(window) or len(self.held) < threads

    def has_more(self) -> bool:
        """Whether more is held than the core can be running: two tokens, or a batch of calls."""
        held = self.held
        return len(held) > 1 or any(ticket.operation.divisible for ticket in held.values())

    def overdue_since(self) -> int:
        """Since when, at the least, something has lain behind something else, ns.

        Either nothing has come out of the core since then, or the token that follows the oldest
        has lain there since then. Requires `has_more`.
        """
        following = next(islice(self.held.values(), 1, None), None)
        return self.progress if following is None else min(self.progress, following.admitted)


class Ledger:
    """The books of all seats, and how many tokens have ended in each state.

    Attributes:
        books: The book of each core, core 1 first; then the books of draining processes.
        draining: The seats of draining processes: places among the books, from 1.
        ended: How many tokens have ended in each final state.
        submitted: How many tokens there have been.
        ready: The cores that can be sent tokens.
        open: Ready cores with room in their window (see `pacing`).
        idle: Ready cores that hold nothing.
        window: How much work a core may hold, ns, as of the last order.
        away: For how long the parent may not come to send anything, ns.
        beside: Cores on the CPU that the parent runs on, which come after the others.
        recallable: Ready cores that hold more than they can be running, and were not asked to give
            back what they have not begun since they were last sent or answered anything.
    """

    __slots__ = (
        "_threads",
        "away",
        "beside",
        "books",
        "draining",
        "ended",
        "idle",
        "open",
        "ready",
        "recallable",
        "submitted",
        "window",
    )

    def __init__(self, cores: int, threads: int) -> None:
        self._threads = threads
        self.books = [Book(core) for core in range(1, cores + 1)]
        self.draining: set[int] = set()
        # (Complete from the first: other threads may add up the values meanwhile.)
        self.ended = {state: 0 for state in TokenState if state.ended}
        self.submitted = 0
        self.window = pacing.WINDOW_NS
        self.ready: Cores = 0
        self.away = 0
        self.beside: Cores = 0
        self.open: Cores = 0
        self.idle: Cores = 0
        self.recallable: Cores = 0

    def __getitem__(self, core: int) -> Book:
        return self.books[core - 1]

    def __iter__(self) -> Iterator[Ticket]:
        """Tokens that cores hold and that have not ended."""
        return (
            ticket for book in self.books for ticket in book.held.values() if not ticket.stage.ended
        )

    @property
    def unended_count(self) -> int:
        """How many of the submitted tokens have not ended."""
        return self.submitted - sum(self.ended.values())

    def open_book(self, book: Book) -> None:
        """Count a core as ready: tokens can be sent to its process."""
        book.ready = True
        book.closed = False
        self.ready |= book.bit
        self.update_room(book)

    def close_book(self, book: Book) -> None:
        """Send a core no more tokens until its next process is ready."""
        book.closed = True
        others = ~book.bit
        self.ready &= others
        self.open &= others
        self.idle &= others

    def strike_off(self, book: Book) -> list[Ticket]:
        """Take everything out of the book of a core that is gone."""
        tickets = book.take_back(list(book.held))
        self.close_book(book)
        book.ready = book.stuck = book.closed = False
        book.quota = UNLIMITED  # that was the process's
        book.floor = book.reach = 0
        self.recallable &= ~book.bit
        return tickets

    def add_load(self, book: Book, load: int, reach: Cores, now: int) -> None:
        """Charge a book for tokens that were added.

        Args:
            book: The book.
            load: The charge, ns.
            reach: The cores on which the tokens could run.
            now: The time, ns.
        """
        bit = book.bit
        if self.idle & bit:
            self.idle &= ~bit
            book.progress = now
            book.reach = 0
        book.load += load
        book.reach |= reach
        if book.has_more():
            self.recallable |= bit

    def update_room(self, book: Book) -> None:
        """Mark a core as open, idle or recallable after tokens left its book."""
        bit = book.bit
        if not book.held:
            book.stuck = False
            self.recallable &= ~bit
            if not book.closed:
                self.idle |= bit
                self.open |= bit
            return
        if book.stuck or book.closed:
            self.open &= ~bit
        elif not self.open & bit and book.may_reopen(self._threads, self.window):
            self.open |= bit
        if book.has_more():
            self.recallable |= bit
        else:
            self.recallable &= ~bit

    def offer_more(self, book: Book, running: Iterable[int]) -> None:
        """Open a core whose crew has threads free, while all that runs there blocks.

        Args:
            book: The core's.
            running: The numbers of the tokens that run.
        """
        if book.ready:
            book.mark_blocked(running)
            book.floor = self._threads
            book.stuck = False
            self.open |= 0 if book.closed else book.bit

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        for book in self.books:
            name, bit = f"core {book.core}", book.bit
            assert book.load == sum(map(_cost, book.held.values())), f"{name}: wrong load"
            assert book.blocked <= book.held.keys(), f"{name}: a token is blocked, and not held"
            assert book.ready or not book.held, f"{name} holds tokens, but is not ready"
            takes = bool(bit) and book.ready and not book.closed
            assert takes == bool(self.ready & bit), f"{name}: ready"
            assert bool(self.idle & bit) == (takes and not book.held), f"{name}: idle"
            assert not self.open & bit or takes, f"{name} is open, but not ready"
            assert not self.open & bit or not book.stuck, f"{name} is open, but stuck"
            assert not self.idle & bit or self.open & bit, f"{name} is idle, but not open"
            assert not self.recallable & bit or book.has_more(), f"{name}: nothing to recall"
            for number, ticket in book.held.items():
                assert ticket.number == number, f"{name}: {number} is {ticket.number}"
                assert ticket.core == book.core, f"{ticket} is held by {name}"
                assert ticket.stage is TokenState.ADMITTED or ticket.stage.ended, f"{ticket}"
        held = [number for book in self.books for number in book.held]
        assert len(held) == len(set(held)), "two cores hold the same token"


def release_limits(tickets: Iterable[Ticket]) -> None:
    """Count tokens off the limits of their operations, when no core holds such tokens any more."""
    for ticket in tickets:
        limit = ticket.operation.limit
        if limit is not None:
            limit.held -= 1
