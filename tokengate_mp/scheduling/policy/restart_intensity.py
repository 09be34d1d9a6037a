"""How often a core's processes may end without progress before the core is given up.

A process that ended without having answered for any token made no progress, and the next is likely
to end in the same way. With a process that did answer, a batch in which some tokens crash their
process loses those, and goes on, however many they are, since each takes itself out of the batch.
So only the former count.

The first is replaced at once, and the further ones after pauses that double, up to a share of the
period so small that all of them together take half of it. So a core whose processes end as soon as
they are up is given up within the period, and one whose processes end now and then never is.
"""

from __future__ import annotations

from collections import deque
from typing import Final

FIRST_PAUSE: Final = 0.01
"""Seconds before the second replacement; twice as many before each further one."""


class Intensity:
    """Ends of a core's processes without progress.

    Args:
        limit: How many there may be within a period.
        period: Seconds.
    """

    __slots__ = ("_ends", "_limit", "_period")

    def __init__(self, limit: int, period: float) -> None:
        self._limit = limit
        self._period = period
        self._ends: deque[float] = deque()

    def end_without_progress(self, now: float) -> float | None:
        """Count the end of a process that made no progress.

        Args:
            now: When, in seconds of any one monotonic clock.

        Returns:
            How many seconds to wait before the next process is started; None: start none any more.
        """
        ends = self._ends
        ends.append(now)
        while ends[0] <= now - self._period:
            ends.popleft()
        if len(ends) > self._limit:
            return None
        if len(ends) == 1:
            return 0.0
        most = self._period / (2 * self._limit)
        return min(most, FIRST_PAUSE * 2.0 ** min(len(ends) - 2, 60))
