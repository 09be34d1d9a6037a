"""When the next process of a core is started, and when the core is given up.

A process may end before it was ready, or not come up at all: the next attempt is made after a pause
that doubles, and after a few in a row the core is given up. A process that was ready, and ended
without having answered for a token, counts for the core's restart intensity (see
`restart_intensity`). One that had answered is replaced at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from tokengate_mp.scheduling.policy.restart_intensity import Intensity

START_ATTEMPTS: Final = 3
"""Processes in a row that ended before they were ready after which a core is given up."""

START_PAUSE: Final = 0.1
"""Seconds before the second attempt; twice as many before each further one."""

NEVER_UP: Final = (
    "each ended before it was ready. What they wrote to stderr says why; `python -m tokengate_mp "
    "doctor` tries it too."
)
"""Why a core is given up whose processes do not come up."""


class GiveUp(NamedTuple):
    """The decision to start no further process of a core.

    Attributes:
        reason: Why, for users.
    """

    reason: str


class RestartPolicy:
    """Decides over the processes of all cores.

    Args:
        cores: The cores' numbers.
        limit: How many processes of a core may end without progress within a period.
        period: Seconds.
    """

    __slots__ = ("_failures", "_intensity", "_limit", "_period")

    def __init__(self, cores: Iterable[int], limit: int, period: float) -> None:
        self._limit = limit
        self._period = period
        self._failures = dict.fromkeys(cores, 0)
        self._intensity = {core: Intensity(limit, period) for core in self._failures}

    def came_up(self, core: int) -> None:
        """Count attempts to start a core's process from none again."""
        self._failures[core] = 0

    def not_started(self, core: int, *, hopeless: bool = False) -> float | GiveUp:
        """Decide after a process that could not be started, or ended before being ready.

        Args:
            core: Its core.
            hopeless: Whether each further process would end in the same way.

        Returns:
            Seconds to wait before the next attempt; or that there is to be none.
        """
        failures = START_ATTEMPTS if hopeless else self._failures[core] + 1
        self._failures[core] = failures
        if failures >= START_ATTEMPTS:
            return GiveUp(NEVER_UP)
        return START_PAUSE * 2.0 ** (failures - 1)

    def ready_ended(self, core: int, now: float, *, made_progress: bool) -> float | GiveUp:
        """Decide after a process that had been ready has ended.

        Args:
            core: Its core.
            now: The time, in seconds of any one monotonic clock.
            made_progress: Whether it had answered for a token, or ended through no fault of its
                own.

        Returns:
            Seconds to wait before the next process is started; or that there is to be none.
        """
        self._failures[core] = 0
        if made_progress:
            return 0.0
        pause = self._intensity[core].end_without_progress(now)
        if pause is None:
            return GiveUp(
                f"more than {self._limit} of its processes (restart_limit) ended within "
                f"{self._period:g} s (restart_period), none of which had answered for a token "
                "before. The WorkerLost errors of the tokens that they were running say how they "
                "ended."
            )
        return pause
