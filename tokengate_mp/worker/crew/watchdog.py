"""The watchdog: watches over the crew from a thread of its own.

While there is work it looks at the crew every few milliseconds. It takes the run slot from a holder
that is stuck in a token while the CPU time of the process stands still; it rings for outcomes whose
bell was put off for a short token that turned out long; it tells the parent when threads have
nothing to run because every running token blocks; and it cuts batches whose time is up.

Each look costs a CPU-bound thread the GIL for a moment, so looks become rarer while the
crew computes. When nothing happens any more, the watchdog sleeps until the crew wakes it.
"""

from __future__ import annotations

from threading import get_native_id
from time import monotonic_ns, process_time_ns
from typing import Final

from tokengate_mp.wire.channel.mailbox import HUNGRY
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.run.cutting import cut_overdue
from tokengate_mp.worker.run.starvation import starved_ns

SHORTEST: Final = 0.002
"""Seconds between looks while tokens block."""

LONGEST: Final = 0.032
"""Seconds between looks while they compute."""

IDLE_LOOKS: Final = 8
"""Looks with nothing running before the watchdog goes to sleep."""

STILL: Final = 0.2
"""The crew counts as blocked while it uses, or waits to use, less than this share of a CPU."""


class Watchdog:
    """Looks at the crew, acts, and chooses when to look again; in the control thread.

    Args:
        crew: The crew.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._words = crew.mailbox.words
        self._pause = SHORTEST
        self._idle = 0
        self._hungry = 0
        self._hungry_at = -1
        self._starved = 0
        self._late = 0
        self._remember()

    def look_at_crew(self) -> float | None:
        """Look at the crew; return the seconds until the next look, or None: sleep until woken."""
        crew, reporter = self._crew, self._crew.reporter
        running = crew.mailbox.running_tokens()
        # What may wait longer: the crew comes to it by itself, if this token is as short as usual.
        if crew.outgoing.unrung and not (running and monotonic_ns() < reporter.wake_up.due):
            reporter.ring_parent(monotonic_ns())
        if not running:
            self._pause = SHORTEST
            self._idle += 1
            if self._idle >= IDLE_LOOKS and not crew.inbox.has_mail():
                # The crew reads this after it has taken mail: it cannot miss both.
                crew.watchdog_bell.asleep = True
                if not crew.inbox.has_mail() and not crew.mailbox.running_tokens():
                    return None
                crew.watchdog_bell.asleep = False
            self._remember()
            return self._pause
        self._idle = 0
        if crew.interrupts.postponed:
            crew.interrupts.interrupt_postponed()
        if self._still() and not self._gets_no_cpu():
            self._pause = SHORTEST
            self._relieve(running)
        else:
            self._pause = min(self._pause * 2, LONGEST)
        self._remember()
        cuts, due = cut_overdue(self._at)
        if cuts:
            reporter.report_cuts(cuts)
        return self._pause if due is None else min(self._pause, due / 1e9)

    def resume_looks(self) -> None:
        """Begin to look often again: the crew has mail."""
        self._pause = SHORTEST
        self._idle = 0
        self._remember()

    def _remember(self) -> None:
        self._published = self._crew.outgoing.published
        self._at = monotonic_ns()
        self._cpu = process_time_ns()

    def _still(self) -> bool:
        """Whether since the last look nothing was finished and hardly any CPU time used."""
        return self._crew.outgoing.published == self._published and self._is_little(0, 0)

    def _is_little(self, starved: int, late: int) -> bool:
        used = process_time_ns() - self._cpu
        return used + starved < (monotonic_ns() - self._at - late) * STILL

    def _gets_no_cpu(self) -> bool:
        """Whether the crew would have used more CPU time, but other processes had the CPU.

        They had it when this thread was to look, too, and a crew thread may have waited for it with
        the GIL: that time does not count at all.

        Only asked while the crew stands still. So the first answer may be about a longer time than
        since the last look, and then wrong; the next one is not.
        """
        starved, late = self._starved, self._late
        self._starved = sum(map(starved_ns, list(self._crew.natives.values())))
        self._late = starved_ns(get_native_id())
        return not self._is_little(self._starved - starved, self._late - late)

    def _relieve(self, running: list[int]) -> None:
        """Take the run slot from a stuck holder if mail waits; else report idle threads.

        Args:
            running: The tokens that are running.
        """
        crew = self._crew
        if crew.run_slot.kept:
            return  # nothing begins beside an exclusive token
        if crew.inbox.has_mail():
            holder = crew.run_slot.holder
            if holder is not None:
                crew.run_slot.vacate(holder)
            return
        # Once for each situation; what the parent sends, or an outcome, makes a new one.
        situation = crew.outgoing.published + len(running)
        if len(running) < crew.threads and self._hungry_at != situation:
            self._hungry_at = situation
            self._hungry += 1
            self._words[HUNGRY] = self._hungry
            crew.reporter.ring_parent(monotonic_ns())
