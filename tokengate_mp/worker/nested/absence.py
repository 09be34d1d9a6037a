"""Threads of the crew that are away from the run slot, since they wait for a token."""

from __future__ import annotations

import threading

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.worker.crew.crew import Crew


class Absences:
    """Counts the threads of a crew that wait, and tells the parent when all do.

    Args:
        crew: The crew.
    """

    __slots__ = ("_absent", "_lock", "_run_slot", "_threads", "_words")

    def __init__(self, crew: Crew) -> None:
        self._run_slot = crew.run_slot
        self._threads = crew.threads
        self._words = crew.mailbox.words
        self._absent = 0
        self._lock = threading.Lock()

    def go_absent(self, slot: int) -> None:
        """Give up the run slot, if the thread is its holder, and begin to wait."""
        self._run_slot.vacate(slot)
        with self._lock:
            self._absent += 1
            self._words[page.WAITS] = int(self._absent >= self._threads)

    def come_back(self, slot: int) -> None:
        """End the wait of a thread, and give the thread the run slot if that is free."""
        with self._lock:
            self._absent -= 1
            self._words[page.WAITS] = 0
        self._run_slot.take_if_free(slot)


class Absence:
    """A wait of the calling thread. A thread of the user's own has no run slot to give up.

    Args:
        absences: Those of its crew.
        slot: The slot of the thread in the crew; None if it is no thread of the crew.
    """

    __slots__ = ("_absences", "_away", "_slot")

    def __init__(self, absences: Absences, slot: int | None) -> None:
        self._absences = absences
        self._slot = slot
        self._away = False

    def start_absence(self) -> None:
        """Be away from the run slot from now on."""
        if self._slot is not None and not self._away:
            self._away = True
            self._absences.go_absent(self._slot)

    def end_absence(self) -> None:
        """Be back."""
        if self._slot is not None and self._away:
            self._away = False
            self._absences.come_back(self._slot)
