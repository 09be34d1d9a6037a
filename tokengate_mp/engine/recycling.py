"""Recycling: core processes that have run their time are replaced while they are well.

The process that is to take over is started first, and gets ready beside the old one, which goes on
meanwhile. Once it is up, it gets the core's tokens; the old one gives back what it has not begun,
finishes the rest, and ends. So no token is lost to a recycling, and no core stands still for one.
Tokens that are made inside those that the old process finishes may go to either; a chain goes on
where it is, and keys that are pinned to a core stay pinned to it.

When it is due. With a limit that is not exact, a process that has answered for so many tokens is
recycled, and what it runs until its successor is up is beyond the limit. With an exact one it is
never sent more, so the successor is started ahead, by the pace so far; but the core waits for it if
it is late.

The resident set is looked at from outside, about once a second while anything happens: that costs
some 20 µs for each process, none of which is the crew's, and sees what a token takes while it runs.
What is freed in between counts no more, and what is taken in between is seen late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic_ns
from typing import Final

import psutil

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.supervisor import Supervisor
from tokengate_mp.loops.timers import Timer
from tokengate_mp.scheduling.scheduler import Scheduler

WEIGH_SECONDS: Final = 1.0
"""How long after anything has happened resident sets are looked at."""

_log = logging.getLogger(__name__)


def is_nearly_used(answered: int, limit: int, age: int, lead: int) -> bool:
    """Whether a successor should be started, so that it is up when the limit is reached.

    Args:
        answered: How many tokens the process has answered for.
        limit: How many it may.
        age: For how long it has been taking tokens, ns.
        lead: How long a process needs to get ready, ns; twice as long is allowed for.
    """
    left = limit - answered
    return left <= 0 or (answered > 0 and left * age <= 2 * lead * answered)


class Recycling:
    """Decides which processes are recycled, and when each next one takes over.

    Args:
        settings: The limits.
        loop: The coordinator's loop.
        scheduler: Knows what each process holds, and has answered for.
        supervisor: Starts and ends them.
        request_turn: Asks for a turn, in which `look` is called.

    Attributes:
        active: Whether there are any limits.
    """

    def __init__(
        self,
        settings: CoordinatorSettings,
        loop: asyncio.AbstractEventLoop,
        scheduler: Scheduler,
        supervisor: Supervisor,
        request_turn: Callable[[], None],
    ) -> None:
        self._limit = settings.max_tokens_per_core
        self._exact = settings.exact
        self._max_rss = settings.max_rss
        self._scheduler = scheduler
        self._handover = scheduler.handover
        self._supervisor = supervisor
        self._request_turn = request_turn
        self._weighing = Timer(loop, self._weigh)
        self._heavy: set[Incarnation] = set()
        self._lead = 0
        self._begun = dict.fromkeys(supervisor.restarts, 0)
        self.active = self._limit is not None or self._max_rss is not None

    def begin(self, incarnation: Incarnation) -> None:
        """A process has taken over its core and is up; the core is not ready yet."""
        now = monotonic_ns()
        self._begun[incarnation.core] = now
        if not incarnation.shared:  # else it may have been up for long
            self._lead = now - incarnation.made
        self._handover.begin_process(incarnation.core, self._limit if self._exact else None)

    def ended(self, incarnation: Incarnation) -> None:
        """A process has ended, and all outcomes that it left are settled; its tokens are not."""
        self._heavy.discard(incarnation)
        if incarnation.seat == incarnation.core:
            incarnation.fruitful |= self._handover.answered_by_process(incarnation.core) > 0

    def look(self) -> None:
        """Go on with what is under way, and begin what is due."""
        for seat, incarnation in list(self._supervisor.living.items()):
            if seat == incarnation.core:
                self._look_at(incarnation)
            elif not self._scheduler.accounts.held_count(seat):
                self._supervisor.dismiss(incarnation)
        if self._max_rss is not None:
            self._weighing.run_within(WEIGH_SECONDS)

    def _look_at(self, incarnation: Incarnation) -> None:
        supervisor, core = self._supervisor, incarnation.core
        successor = supervisor.successors.get(core)
        if core in supervisor.irreplaceable:
            if self._handover.is_closed(core):
                self._relieve(incarnation)
        elif successor is not None:
            if successor.ready and self._is_over(incarnation):
                self._relieve(incarnation)
        elif incarnation.ready and self._may_begin(core) and self._is_due(incarnation):
            supervisor.succeed(core)

    def _may_begin(self, core: int) -> bool:
        """Whether a successor of this core's process may be started now.

        Where no limit is exact, they get ready one after the other: so there is one process more
        than there are cores, and not twice as many.
        """
        supervisor = self._supervisor
        if supervisor.is_replacing(core):
            return False
        return self._exact or all(each.ready for each in supervisor.successors.values())

    def _is_over(self, incarnation: Incarnation) -> bool:
        """Whether the time of a process whose successor is up has come."""
        exact = self._exact and incarnation not in self._heavy
        return not exact or self._handover.is_closed(incarnation.core)

    def _is_due(self, incarnation: Incarnation) -> bool:
        if incarnation in self._heavy:
            return True
        if self._limit is None:
            return False
        core = incarnation.core
        answered = self._handover.answered_by_process(core)
        if not self._exact:
            return answered >= self._limit
        age = monotonic_ns() - self._begun[core]
        return self._handover.is_closed(core) or is_nearly_used(
            answered, self._limit, age, self._lead
        )

    def _relieve(self, incarnation: Incarnation) -> None:
        core = incarnation.core
        self._heavy.discard(incarnation)
        self._supervisor.relieve(core, self._handover.relieve(core))
        if self._scheduler.accounts.held_count(incarnation.seat):
            incarnation.recall()
        else:
            self._supervisor.dismiss(incarnation)

    def _weigh(self) -> None:
        """Find the processes that have grown beyond the limit."""
        assert self._max_rss is not None
        for core in self._begun:
            incarnation = self._supervisor.living.get(core)
            # One that has not done anything is not made smaller by another fresh one.
            if (
                incarnation is None
                or not incarnation.ready
                or not self._handover.answered_by_process(core)
            ):
                continue
            pid = incarnation.launched.process.pid
            try:
                rss = psutil.Process(pid).memory_info().rss
            except psutil.Error:  # it has just ended, which is noticed apart
                continue
            if rss > self._max_rss and incarnation not in self._heavy:
                _log.info("core %d: process %d has grown to %d bytes", core, pid, rss)
                self._heavy.add(incarnation)
                self._request_turn()

    def cancel(self) -> None:
        """Look at no more resident sets."""
        self._weighing.cancel()
