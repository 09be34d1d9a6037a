"""Threads of the crew that are away from the run slot, since they wait for a token."""

from __future__ import annotations

from tokengate_mp.worker.crew.exclusion import Exclusion


class Absence:
    """A wait of the calling thread. A thread of the user's own has no run slot to give up.

    Args:
        exclusion: Which threads of the crew may go on.
        slot: The slot of the thread in the crew; None if it is no thread of the crew.
    """

    __slots__ = ("_away", "_exclusion", "_slot")

    def __init__(self, exclusion: Exclusion, slot: int | None) -> None:
        self._exclusion = exclusion
        self._slot = slot
        self._away = False

    def start_absence(self) -> None:
        """Be away from the run slot from now on."""
        if self._slot is not None and not self._away:
            self._away = True
            self._exclusion.suspend(self._slot)

    def end_absence(self) -> None:
        """Be back."""
        if self._slot is not None and self._away:
            self._away = False
            self._exclusion.resume(self._slot)
