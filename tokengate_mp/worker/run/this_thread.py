"""The state of a thread of a core process, for the thread itself."""

from __future__ import annotations

import threading

from tokengate_mp.worker.run.interrupts import Interrupts, Shield


class ThisThread(threading.local):
    """Which slots a thread has, and how many tokens stand on its stack.

    Args:
        interrupts: Those of the process.

    Attributes:
        slot: The slot of a thread of the crew; None in any other thread.
        reach: The slot in which the thread can be interrupted; None while it runs no token.
        depth: How many tokens the thread runs on top of the first.
    """

    slot: int | None = None
    reach: int | None = None
    depth = 0

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def shield(self) -> Shield:
        """Make a context in which the thread is not interrupted (see `interrupts`)."""
        return Shield(self._interrupts, self.reach)

    def token_number(self) -> int:
        """Return the number of the token that the thread runs; 0 for no token."""
        reach = self.reach
        return 0 if reach is None else self._interrupts.running[reach]
