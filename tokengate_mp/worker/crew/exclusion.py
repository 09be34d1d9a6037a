"""Exclusion: exclusive tokens have the process to themselves, and run in the main thread.

An exclusive token begins when no other thread of the crew is in the middle of one, but for threads
that wait for tokens. Such a thread may wait for the very token that is to begin, or for one behind
it, so it is *suspended*: it does not go on before the exclusive token has ended. While that waits
to begin, no other token is taken; so it begins after those that have begun by then.

From then on the process is one with a crew of a single thread, until the token ends: the main
thread keeps the run slot, also while it waits. What it waits for it runs on top, if that comes
here, and nothing else.

No wait comes to a standstill by this. Whoever is suspended has begun before the exclusive token;
what that waits for, and what is made while it runs, begins later. So each waits for something that
has begun later than itself, and no chain of waits is a circle.
"""

from __future__ import annotations

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.protocol.records import Request
from tokengate_mp.worker.crew.backlog import Backlog
from tokengate_mp.worker.crew.run_slot import MAIN, RunSlot


class Exclusion:
    """Says when an exclusive token may begin, and keeps others from going on meanwhile.

    Args:
        words: The status page.
        threads: How many threads the crew has.
        run_slot: The run slot.
        backlog: Requests that wait, and the condition that threads which wait are notified of.

    Attributes:
        suspended: The slots of the threads that wait for tokens.
    """

    __slots__ = (
        "_alone",
        "_backlog",
        "_draining",
        "_others",
        "_run_slot",
        "_threads",
        "_words",
        "suspended",
    )

    def __init__(
        self, words: memoryview, threads: int, run_slot: RunSlot, backlog: Backlog
    ) -> None:
        self.suspended: set[int] = set()
        self._alone = False  # whether threads that are suspended have to stay so
        self._draining = False  # whether the main thread keeps the run slot, and runs nothing yet
        self._words = words
        self._threads = threads
        self._others = range(1, threads)
        self._run_slot = run_slot
        self._backlog = backlog

    # ---- threads that wait for tokens

    def suspend(self, slot: int) -> None:
        """Begin the wait of a thread: others may go on, unless an exclusive token waits."""
        run_slot = self._run_slot
        run_slot.vacate(slot)
        with self._backlog.arrivals:
            self.suspended.add(slot)
            stuck = len(self.suspended) >= self._threads or (slot == MAIN and run_slot.kept)
            self._words[page.WAITS] = int(stuck)
        if slot != MAIN:
            self.tell_main()

    def resume(self, slot: int) -> None:
        """End the wait of a thread, as soon as no exclusive token runs in another thread.

        The thread gets the run slot if that is free.
        """
        arrivals = self._backlog.arrivals
        with arrivals:
            while self._alone and slot != MAIN:
                arrivals.wait()
            self.suspended.discard(slot)
            self._words[page.WAITS] = 0
        self._run_slot.take_if_free(slot)

    def tell_main(self) -> None:
        """Let the main thread look again whether an exclusive token may begin, if one is due."""
        if self._run_slot.kept or self._run_slot.reserved:
            self._backlog.wake_waiting()

    # ---- the main thread, as it takes tokens

    def has_company(self) -> bool:
        """Whether any other thread of the crew is in the middle of a token."""
        words = self._words
        return any(words[page.RUNNING + slot] for slot in self._others)

    def await_quiet(self, seconds: float) -> Request | None:
        """Take the exclusive token at the head of the queue, when that may begin.

        The main thread keeps the run slot. Others that are suspended stay so until `end_alone`.

        Args:
            seconds: How long to wait at most for threads that are in the middle of a token.

        Returns:
            The token; None if there is none at the head any more, or the time is up.
        """
        backlog = self._backlog
        with backlog.arrivals:
            if backlog.exclusive_first() and not self._is_quiet():
                backlog.arrivals.wait(seconds)
            return self._take_first()

    def _is_quiet(self) -> bool:
        words, suspended = self._words, self.suspended
        return all(slot in suspended or not words[page.RUNNING + slot] for slot in self._others)

    def _take_first(self) -> Request | None:
        """Take the exclusive token at the head, if it may begin; the condition's lock is held."""
        if not self._is_quiet():
            return None
        request = self._backlog.take_exclusive()
        self._alone = request is not None
        return request

    def end_alone(self) -> None:
        """Let suspended threads go on: an exclusive token has ended."""
        with self._backlog.arrivals:
            self._alone = False
            self._backlog.arrivals.notify_all()

    # ---- the main thread, as it waits for a token

    @property
    def in_force(self) -> bool:
        """Whether nothing runs beside the main thread: it may begin at once what it waits for.

        An exclusive token runs there, or waits there for another; or there is no other thread.
        """
        return self._threads == 1 or (self._run_slot.kept and not self._draining)

    def take_on_top(self, awaited: int) -> Request | None:
        """Take an exclusive token for the main thread to run on top of the one that waits there.

        Where nothing runs beside the main thread, that is what it waits for. Else it is the one at
        the head of the queue, whose turn it is.

        Args:
            awaited: The number of the token that the thread waits for.
        """
        run_slot, backlog = self._run_slot, self._backlog
        if self.in_force:
            return backlog.take_exclusive(awaited)
        if not backlog.exclusive_first():
            self.stop_draining()
            return None
        if not self._draining:
            if run_slot.holder != MAIN and not run_slot.take_if_free(MAIN):
                return None  # its holder comes to that token next, and leaves it to this thread
            if not run_slot.keep():
                return None
            self._draining = True
        with backlog.arrivals:
            request = self._take_first()
        if request is not None:
            self._draining = False
        return request

    def end_on_top(self) -> None:
        """End the run of a token from `take_on_top`, if exclusion was not in force before."""
        self._run_slot.keep_no_more()
        self.end_alone()
        if MAIN in self.suspended:
            self._run_slot.vacate(MAIN)

    def stop_draining(self) -> None:
        """Let others take tokens again: the main thread will run no exclusive one for now."""
        if self._draining:
            self._draining = False
            self._run_slot.keep_no_more()
            if MAIN in self.suspended:
                self._run_slot.vacate(MAIN)
