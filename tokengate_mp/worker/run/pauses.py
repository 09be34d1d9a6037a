"""How long each thread has waited for tokens, which does not count as the work of its own token."""

from __future__ import annotations

import threading
from typing import Final


class Pauses:
    """The time that threads have spent waiting for tokens.

    Attributes:
        any: Whether a thread ever has: looking at thread-local state takes its time.
    """

    __slots__ = ("_own", "any")

    def __init__(self) -> None:
        self.any = False
        self._own = threading.local()

    def of_this_thread(self) -> int:
        """Return how long the calling thread has waited since its start, ns."""
        ns: int = getattr(self._own, "ns", 0)
        return ns

    def add_pause(self, ns: int) -> None:
        """Count a wait of the calling thread, ns."""
        self._own.ns = self.of_this_thread() + ns
        self.any = True


pauses: Final = Pauses()
