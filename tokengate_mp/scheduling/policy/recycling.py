"""Recycling: when a core's process is replaced while it is well, and when the next takes over.

With a limit that is not exact, a process that has answered for so many tokens is due, and what it
runs until its successor is up is beyond the limit. With an exact limit it is never sent more, so
the successor is started ahead, by the pace so far; but the core waits for it if it is late. A
process whose own memory was seen to be too large, or that is to be replaced because somebody wants
it so, is due at once.

Where no limit is exact, successors get ready one after the other: so there is one process more than
there are cores, and not twice as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class ProcessFacts(NamedTuple):
    """Facts about the process that gets a core's tokens.

    Attributes:
        core: Its core.
        ready: Whether it is up.
        answered: How many outcomes it has given.
        closed: Whether it was sent its whole quota.
        successor_ready: Whether the process that is to take over is up; None: none was started.
        successor_due: Whether a successor will be started in a moment.
        irreplaceable: Whether no successor can be started.
    """

    core: int
    ready: bool
    answered: int
    closed: bool
    successor_ready: bool | None
    successor_due: bool
    irreplaceable: bool


class RecyclingOrders(NamedTuple):
    """Orders to start, hand over and dismiss processes.

    Attributes:
        start: Cores whose successor is to be started.
        hand_over: Cores whose successor is to take over; where there can be none, the core is given
            up.
        dismiss: Seats of draining processes that hold nothing, and are to end.
    """

    start: list[int]
    hand_over: list[int]
    dismiss: list[int]


class RecyclingPolicy:
    """Decides over the processes of all cores. Times are in ns of any monotonic clock.

    Args:
        limit: The most tokens that a process answers for; None for any number.
        exact: Whether a process is never sent more than that.
        max_rss: The most memory that a process has for itself, bytes; None for any size.
    """

    __slots__ = ("_began", "_due", "_exact", "_lead", "_limit", "_max_rss")

    def __init__(self, limit: int | None, *, exact: bool, max_rss: int | None) -> None:
        self._limit = limit
        self._exact = exact
        self._max_rss = max_rss
        self._began: dict[int, int] = {}
        self._due: set[int] = set()
        self._lead = 0

    @property
    def quota(self) -> int | None:
        """How many tokens a process may be sent; None for any number."""
        return self._limit if self._exact else None

    # ---- facts

    def process_began(self, core: int, now: int, lead: int | None) -> None:
        """Measure a process from now on, which takes a core's tokens.

        Args:
            core: The core.
            now: The time.
            lead: How long the process took to get ready; None if nobody knows.
        """
        self._began[core] = now
        self._due.discard(core)
        if lead is not None:
            self._lead = lead

    def process_ended(self, core: int) -> None:
        """Forget that a process was due which takes the core's tokens no more."""
        self._due.discard(core)

    def replacement_wanted(self, core: int) -> None:
        """Count a core's process as due, whatever it has done so far."""
        self._due.add(core)

    def replacement_unwanted(self, core: int) -> None:
        """Take that back: a process cannot be replaced."""
        self._due.discard(core)

    def worth_weighing(self, core: int, answered: int) -> bool:
        """Whether to look at the resident set of a core's process.

        A process that has not done anything is not made smaller by another fresh one.

        Args:
            core: The core.
            answered: How many outcomes the process has given.
        """
        return self._max_rss is not None and answered > 0 and core not in self._due

    def weighed(self, core: int, rss: int) -> bool:
        """Count a core's process as due if its own memory, bytes, is too large.

        Returns:
            Whether that is news.
        """
        if self._max_rss is None or rss <= self._max_rss or core in self._due:
            return False
        self._due.add(core)
        return True

    # ---- orders

    def decide(
        self, processes: Sequence[ProcessFacts], draining: Mapping[int, int], now: int
    ) -> RecyclingOrders:
        """Go on with recyclings under way, and begin any that are due.

        Args:
            processes: The process that gets the tokens of each core.
            draining: The seats of relieved processes, each with how many tokens it holds.
            now: The time.
        """
        orders = RecyclingOrders([], [], [seat for seat, held in draining.items() if not held])
        busy = any(process.successor_ready is False for process in processes)
        for process in processes:
            if process.irreplaceable:
                if process.closed:
                    orders.hand_over.append(process.core)
            elif process.successor_ready is not None:
                if process.successor_ready and self._is_over(process):
                    orders.hand_over.append(process.core)
            elif (self._exact or not busy) and self._is_due(process, now):
                orders.start.append(process.core)
                busy = True
        self._due.difference_update(orders.hand_over)
        return orders

    def _is_over(self, process: ProcessFacts) -> bool:
        """Whether the time of a process whose successor is up has come."""
        exact = self._exact and process.core not in self._due
        return not exact or process.closed

    def _is_due(self, process: ProcessFacts, now: int) -> bool:
        """Whether a successor should be started."""
        if not process.ready or process.successor_due:
            return False
        if process.core in self._due:
            return True
        if self._limit is None:
            return False
        if not self._exact:
            return process.answered >= self._limit
        age = now - self._began.get(process.core, now)
        return process.closed or is_nearly_used(process.answered, self._limit, age, self._lead)


def is_nearly_used(answered: int, limit: int, age: int, lead: int) -> bool:
    """Whether a successor should be started, to be up when the limit is reached.

    Args:
        answered: How many tokens the process has answered for.
        limit: How many it may.
        age: For how long it has been taking tokens, ns.
        lead: How long a process needs to get ready, ns; twice as long is allowed for.
    """
    left = limit - answered
    return left <= 0 or (answered > 0 and left * age <= 2 * lead * answered)
