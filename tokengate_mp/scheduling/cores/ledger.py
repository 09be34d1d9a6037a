"""Who holds what: the tokens each core was sent and has not answered for, and the counts.

A token is in exactly one place: in a lane of the gate, in the book of one core, or ended. (One that
is killed while a core holds it has ended, and stays in the book until the core answers: it takes
that core's time all the same.)

Whoever needs a core looks it up in a set, never core by core, so that a token costs the same
however many cores there are.
"""

from __future__ import annotations

from collections import Counter
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
    """What one core holds.

    Attributes:
        core: Its number.
        held: The tokens it was sent and has not answered for, by number, in the order of sending.
        load: What they were charged, ns.
        blocked: The numbers of those of them that were found to be blocked.
        reach: Where they could run as well: the ranges of all classes it was sent since it last
            held nothing.
        ready: Whether a process of it has taken over.
        bit: The core as a set; empty for the book of a process that was relieved (see `handover`).
        quota: How many more tokens its process may be sent.
        closed: Whether its process has been sent all that it may be.
        answered: Outcomes so far, over all its processes.
        before: How many of them were those of earlier processes.
        progress: When it last answered or was sent something while it held nothing, ns.
        floor: How many tokens it may hold at any rate, because its crew had threads free.
        stuck: Whether it gave tokens back and has not finished one since. Whatever it were sent
            would lie there as what it gave back did.
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
        """Take the tokens with these numbers out of `held`, all or none; `load` is not changed.

        Raises:
            KeyError: The core does not hold one of them.
        """
        tickets: list[Ticket] = []
        try:
            tickets.extend(map(self.held.pop, numbers))
        except KeyError:
            # What a core is wrong about must not vanish with it: the rest is still to be ended.
            self.held.update((ticket.number, ticket) for ticket in tickets)
            raise
        if self.blocked:
            self.blocked.difference_update([ticket.number for ticket in tickets])
        return tickets

    def take_back(self, numbers: Iterable[int]) -> list[Ticket]:
        """Take the tokens with these numbers out of the book, all or none.

        Raises:
            KeyError: The core does not hold one of them.
        """
        tickets = self.strike(numbers)
        self.load -= sum(map(_cost, tickets))
        for ticket in tickets:
            if ticket.operation.limit is not None:
                ticket.operation.limit.held -= 1
        return tickets

    def note_blocked(self, numbers: Iterable[int]) -> None:
        """Those of these tokens that are held are blocked, until they end."""
        self.blocked.update(self.held.keys() & numbers)

    @property
    def spared(self) -> int:
        """What blocked tokens were charged, ns: others that compute have it, beside them."""
        return sum([self.held[number].cost for number in self.blocked])

    def may_reopen(self, threads: int, window: int) -> bool:
        """Whether it should be offered tokens again after it was full."""
        if self.stuck or len(self.held) > pacing.FEWER_HELD:
            return False
        load = self.load - self.spared  # whether for the next token that counts, is seen there
        return load <= pacing.low_water(window) or len(self.held) < threads

    def has_more(self) -> bool:
        """Whether it holds more than the core can be running: two tokens, or one that is many."""
        held = self.held
        return len(held) > 1 or any(ticket.operation.divisible for ticket in held.values())

    def overdue_since(self) -> int:
        """Since when something has been waiting in it behind something else, at the least, ns.

        Either nothing has come out of the core since then, or the token that follows the oldest
        one has lain there since then. It must have more.
        """
        following = next(islice(self.held.values(), 1, None), None)
        return self.progress if following is None else min(self.progress, following.admitted)


class Ledger:
    """The books of all cores, and how many tokens there are in each state.

    Attributes:
        books: The book of each core, core 1 first; then those of processes that were relieved.
        relieved: The places of these among the books, from 1.
        ended: How many tokens have ended in each final state.
        submitted: How many there have been.
        ready: The cores that can be sent tokens.
        open: Those of them with room in their window (see `pacing`).
        idle: Those of them that hold nothing.
        window: How much work a core may hold, ns, by what waited at the last order.
        away: For how long the parent may not come to send anything, ns.
        beside: Cores on the CPU that the parent runs on: they come after the others.
        recallable: Those of them that hold more than they can be running, and were not asked to
            give back what they have not begun since they were last sent or answered anything.
    """

    __slots__ = (
        "_threads",
        "away",
        "beside",
        "books",
        "ended",
        "idle",
        "open",
        "ready",
        "recallable",
        "relieved",
        "submitted",
        "window",
    )

    def __init__(self, cores: int, threads: int) -> None:
        self._threads = threads
        self.books = [Book(core) for core in range(1, cores + 1)]
        self.relieved: set[int] = set()
        self.ended: Counter[TokenState] = Counter()
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
        """The tokens that cores hold and that have not ended."""
        return (
            ticket for book in self.books for ticket in book.held.values() if not ticket.stage.ended
        )

    def enrol(self, book: Book) -> None:
        """A core can be sent tokens."""
        book.ready = True
        book.closed = False
        self.ready |= book.bit
        self.lightened(book)

    def close(self, book: Book) -> None:
        """A core's process gets no more tokens."""
        book.closed = True
        others = ~book.bit
        self.ready &= others
        self.open &= others
        self.idle &= others

    def strike_off(self, book: Book) -> list[Ticket]:
        """A core is gone: everything that it held."""
        tickets = book.take_back(list(book.held))
        book.ready = book.stuck = book.closed = False
        book.floor = book.reach = 0
        others = ~book.bit
        self.ready &= others
        self.open &= others
        self.idle &= others
        self.recallable &= others
        return tickets

    def loaded(self, book: Book, load: int, reach: Cores, now: int) -> None:
        """Tokens charged `load` ns, which could run on the cores of `reach`, were put in a book."""
        bit = book.bit
        if self.idle & bit:
            self.idle &= ~bit
            book.progress = now
            book.reach = 0
        book.load += load
        book.reach |= reach
        if book.has_more():
            self.recallable |= bit

    def lightened(self, book: Book) -> None:
        """Tokens were taken out of a book."""
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

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            AssertionError: It does not.
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
