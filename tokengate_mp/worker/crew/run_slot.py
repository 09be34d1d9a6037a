"""The run slot: which thread of the crew may take tokens and run them."""

from __future__ import annotations

import threading


class RunSlot:
    """The right to take and run tokens, of a single thread of the crew at a time.

    Attributes:
        holder: The slot of the thread that has it; None: no thread.
    """

    __slots__ = ("_holder_lock", "_lock", "holder")

    def __init__(self) -> None:
        self.holder: int | None = None
        self._lock = threading.Lock()
        self._holder_lock = threading.Lock()

    def await_turn(self, slot: int) -> None:
        """Wait until no thread has the run slot, then give the run slot to the calling thread."""
        self._lock.acquire()
        self.holder = slot

    def take_if_free(self, slot: int) -> None:
        """Give the run slot to the calling thread if no thread has it."""
        if self._lock.acquire(blocking=False):
            self.holder = slot

    def vacate(self, slot: int) -> bool:
        """Take the run slot away from a thread; False if the thread does not have the run slot.

        Several threads may try at once (the watchdog, the holder): the lock says who did it.
        """
        with self._holder_lock:
            if self.holder != slot:
                return False
            self.holder = None
        self._lock.release()
        return True
