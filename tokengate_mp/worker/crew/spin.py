"""Spins: the time between requests, and whether a core process sleeps through it.

Waking a process that sleeps costs far more than a short token does: a system call of whoever rings,
the time until a CPU runs the process, and caches that are cold by then. Someone who awaits one
token after the other would pay all that for each. So a core whose requests keep coming one at a
time, each soon after the last, stays awake for a moment: it looks at its ring, and gives way
between two looks to whatever else wants its CPU.

It does not where requests come several at a time: the parent is busy then, with calls or results,
and needs the CPU that such a core would look from.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Final

AWAKE_NS: Final = 250_000
"""How long a core stays awake, ns; a spin that takes longer is none to stay awake for."""

STREAK: Final = 8
"""So many short spins in a row, with one request between each two, let it expect another."""


give_way: Final[Callable[[], object]] = (
    os.sched_yield if hasattr(os, "sched_yield") else partial(time.sleep, 0)
)
"""Lets another process that waits for this CPU have it."""


class Spin:
    """Tells short spins from long spins, by the spins before.

    Args:
        clock: The time, monotonic ns.
        give_way: Called between two looks.

    Attributes:
        lone: Whether the mail before brought one request alone.
    """

    __slots__ = ("_began", "_clock", "_give_way", "_short", "_streak", "lone")

    def __init__(
        self,
        clock: Callable[[], int] = time.monotonic_ns,
        give_way: Callable[[], object] = give_way,
    ) -> None:
        self._clock = clock
        self._give_way = give_way
        self._began = 0
        self._short = False  # whether the last one was
        self._streak = 0
        self.lone = False

    def begin_spin(self) -> bool:
        """Begin a time with nothing to do; return whether to expect something soon."""
        self._began = self._clock()
        self._streak = self._streak + 1 if self._short and self.lone else 0
        return self._streak >= STREAK

    def stay_awake(self, stirred: Callable[[], bool]) -> bool:
        """Stay awake until there is something to do; False if there is nothing in time.

        Args:
            stirred: Whether there is. It should let other threads have the GIL.
        """
        until = self._began + AWAKE_NS
        while not stirred():
            if self._clock() >= until:
                return False
            self._give_way()
        return True

    def end_spin(self) -> None:
        """End the spin: there may be something to do."""
        self._short = self._clock() - self._began < AWAKE_NS
