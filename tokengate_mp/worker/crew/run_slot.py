"""The run slot: which thread of the crew may take tokens and run them.

Exclusive tokens run in the main thread alone. The thread that has the run slot and finds such a
token *reserves* it: only the main thread can take it then. The main thread *keeps* the run slot for
an exclusive token, and nobody takes it away, however long that token waits. Between exclusive
tokens that come one after the other it goes on keeping the run slot, so that a stream of them
costs nothing.
"""

from __future__ import annotations

import threading
from typing import Final

MAIN: Final = 0
"""The slot of the main thread, in which the initializer ran."""


class RunSlot:
    """The right to take and run tokens, of a single thread of the crew at a time.

    Attributes:
        holder: The slot of the thread that has it; None: no thread.
        kept: Whether the main thread has it for exclusive tokens, and nobody can take it away.
    """

    __slots__ = ("_free_for_all", "_holder_lock", "_lock", "holder", "kept")

    def __init__(self) -> None:
        self.holder: int | None = None
        self.kept = False
        self._lock = threading.Lock()
        self._holder_lock = threading.Lock()
        self._free_for_all = threading.Event()
        self._free_for_all.set()

    @property
    def reserved(self) -> bool:
        """Whether the main thread alone can take it."""
        return not self._free_for_all.is_set()

    def await_turn(self, slot: int) -> None:
        """Wait until no thread has the run slot, then give the run slot to the calling thread."""
        while True:
            self._lock.acquire()
            if slot == MAIN or self._free_for_all.is_set():
                break
            self._lock.release()
            self._free_for_all.wait()
        self._begin_holding(slot)

    def take_if_free(self, slot: int) -> bool:
        """Give the run slot to the calling thread if no thread has it; False if one has."""
        if (slot != MAIN and self.reserved) or not self._lock.acquire(blocking=False):
            return False
        self._begin_holding(slot)
        return True

    def _begin_holding(self, slot: int) -> None:
        self.holder = slot
        if slot == MAIN:
            self._free_for_all.set()

    def vacate(self, slot: int) -> bool:
        """Take the run slot away from a thread; False if the thread does not have it, or keeps it.

        Several threads may try at once (the watchdog, the holder): the lock says who did it.
        """
        with self._holder_lock:
            if self.holder != slot or self.kept:
                return False
            self.holder = None
        self._lock.release()
        return True

    # ---- for exclusive tokens

    def reserve(self) -> None:
        """Let only the main thread take the run slot, until it has."""
        self._free_for_all.clear()

    def end_reservation(self) -> None:
        """Let any thread take the run slot again: the exclusive token went elsewhere."""
        self._free_for_all.set()

    def keep(self) -> bool:
        """Let nobody take the run slot from the main thread; False if that does not have it."""
        with self._holder_lock:
            self.kept = self.holder == MAIN
            return self.kept

    def keep_no_more(self) -> None:
        """End `keep`; the main thread has the run slot still."""
        with self._holder_lock:
            self.kept = False
