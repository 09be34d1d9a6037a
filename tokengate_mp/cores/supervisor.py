"""The core processes: started, watched, replaced when they die or are worn, ended.

This is the backend of the port (see `ports`) whose links are processes of this machine. A process
that is to be replaced while it is well goes on until its *successor* is up. That takes its seat
then, and the old one, which is *relieved*, drains under a seat of its own until it holds no token
any more (see `scheduling.cores.handover`); after that it is told to end, like all at a stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import subprocess
import time
from collections import deque
from functools import partial
from typing import Final

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.launch import launch
from tokengate_mp.cores.leases import Leases
from tokengate_mp.cores.output import OutputStreams
from tokengate_mp.cores.watch import ProcessWatch
from tokengate_mp.errors import CoreStartError
from tokengate_mp.loops.timers import Timer
from tokengate_mp.ports import BackendEvents, CoreLink, Ending, GivenUp
from tokengate_mp.scheduling.policy.restart_intensity import Intensity
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.protocol.control import PATIENT_NS, UNINITIALIZED

_log = logging.getLogger(__name__)

START_ATTEMPTS: Final = 3
"""After so many processes in a row that ended before they were ready, a core is given up."""

START_PAUSE: Final = 0.1
"""Seconds before the second attempt; twice as many before each further one."""

REAP_SECONDS: Final = 1.0
"""How long a process whose end of the control socket is closed may take to be gone."""

NEVER_UP: Final = (
    "each ended before it was ready. What they wrote to stderr says why; `python -m tokengate_mp "
    "doctor` tries it too."
)
"""Why a core is given up whose processes do not come up."""


class Supervisor:
    """Starts, watches and ends the processes of all cores; everything in the loop's thread.

    Args:
        settings: The coordinator's settings.
        loop: The event loop.

    Attributes:
        links: The process on each seat: that of a core's number gets the core's tokens.
        successors: By core, the process that is to take over.
        irreplaceable_cores: Cores for which no successor could be started, each with the reason.
        restarts: By core, how many processes were started after one had ended by itself.
        recycled: By core, how many processes were relieved.
        arena: Shared memory for large payloads; None if there is none.
    """

    def __init__(self, settings: CoordinatorSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._loop = loop
        self._events: BackendEvents
        self._output: OutputStreams
        self._watch = ProcessWatch(loop, self._heard, self.reap)
        self._glance = Timer(loop, self._look_around)
        self._to_start: deque[int] = deque()
        self._failures: dict[int, int] = {}
        self._retries: dict[int, Timer] = {}
        self._leaving: dict[Incarnation, Timer] = {}
        self.links: dict[int, Incarnation] = {}
        self._stopped = False
        self.successors: dict[int, Incarnation] = {}
        self.irreplaceable_cores: dict[int, str] = {}
        self._refusal = b""
        self._reasons: dict[int, str] = {}
        self.arena: ParentArena | None = None
        self.restarts = dict.fromkeys(range(1, len(settings.cpus) + 1), 0)
        self.recycled = dict.fromkeys(self.restarts, 0)
        self._intensity = {
            core: Intensity(settings.restart_limit, settings.restart_period)
            for core in self.restarts
        }

    # ---- starting

    def open(self, events: BackendEvents) -> None:
        """Start the first core's process now, and the other processes as the loop goes round.

        Each takes the loop some 2 ms; they come up side by side all the same, which takes them far
        longer. What fails for the first would fail for all. If only another's cannot be started,
        that is tried again, as if it had ended.

        Args:
            events: Told of everything that happens to the processes.

        Raises:
            CoreStartError: The first process cannot be started.
        """
        settings = self._settings
        self._events = events
        self._output = OutputStreams(len(settings.cpus), events.operation_of)
        self.arena = ParentArena.make(settings.max_shared_bytes, len(settings.cpus))
        first, *others = self.restarts
        try:
            self._start_core(first)
        except CoreStartError:
            self.stop()
            raise
        self._to_start.extend(others)
        self._loop.call_soon(self._start_others)

    def start_next(self) -> None:
        """Start the process of the next core that has had none, if any."""
        if self._to_start:
            self._start_or_retry(self._to_start.popleft())

    def start_rest(self) -> None:
        """Start the processes of all cores that have had none."""
        while self._to_start:
            self.start_next()

    def _start_others(self) -> None:
        try:
            self.start_next()
        finally:
            if self._to_start:
                self._loop.call_soon(self._start_others)

    def _start_or_retry(self, core: int) -> None:
        try:
            self._start_core(core)
        except CoreStartError as error:
            _log.error("core %d: %s", core, error)
            self._failures[core] = self._failures.get(core, 0) + 1
            self._restart_later(core, self._pause_after(core, progress=True))

    def _start_core(self, core: int) -> None:
        self.irreplaceable_cores.pop(core, None)
        incarnation = self._launch(core)
        incarnation.seat = core
        self.links[core] = incarnation
        self._events.launched(incarnation)

    def _launch(self, core: int) -> Incarnation:
        berth = None if self.arena is None else self.arena.berth()
        leases = Leases(self.arena, berth)
        try:
            launched = launch(core, self._settings, berth)
        except CoreStartError:
            leases.close_leases()
            raise
        incarnation = Incarnation(
            core,
            launched,
            self._output.listen(core, launched.voice, launched.mailbox.words, self._loop),
            leases,
            came_up=self._came_up,
            glance=partial(self._glance.run_within, PATIENT_NS / 1e9),
        )
        incarnation.arm()
        try:
            self._watch.begin_watch(incarnation)
        except OSError as error:  # no descriptor is left
            self._watch.end_watch(incarnation)
            _end_processes([incarnation])
            raise CoreStartError(f"core {core} cannot be watched: {error}") from error
        return incarnation

    # ---- news

    def _heard(self, incarnation: Incarnation) -> None:
        incarnation.answer_bell()
        self._events.heard(incarnation)

    def _look_around(self) -> None:
        if not self._stopped:
            self._events.look_around()

    def _came_up(self, incarnation: Incarnation) -> None:
        """A process is first seen to take requests."""
        if incarnation.seat:
            self._events.took_over(incarnation)

    def all_links(self) -> list[Incarnation]:
        """All processes, including successors that have not taken over."""
        return [*self.links.values(), *self.successors.values()]

    def return_results(self) -> None:
        """Tell cores which of their results nobody refers to any more."""
        if self.arena is not None and self.arena.released:
            for region, offsets in self.arena.take_released().items():
                for incarnation in self.links.values():
                    if incarnation.leases.region == region:
                        incarnation.free_results(offsets)

    def hear_output(self) -> None:
        """Hand on everything that was printed and logged so far."""
        self._output.hear_all()

    def dropped_output(self) -> dict[int, int]:
        """By core, how many pieces of output were dropped."""
        return self._output.dropped()

    # ---- ends

    def condemn(self, link: CoreLink, because: str, *, distrusted: bool = False) -> None:
        """Kill a process that cannot be trusted any more; its exit is handled like any other."""
        assert isinstance(link, Incarnation), "links come from this backend"
        link.condemned = because
        if distrusted:
            link.distrust()
        link.launched.process.kill()

    def reap(self, incarnation: Incarnation) -> None:
        """The process has ended, or is about to."""
        process = incarnation.launched.process
        try:
            exitcode = process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            # It closed its control socket, yet lives: a token closed descriptors it did not own.
            process.kill()
            exitcode = process.wait()
        core = incarnation.core
        self._watch.end_watch(incarnation)
        if not incarnation.seat:
            self.successors.pop(core, None)
        else:
            del self.links[incarnation.seat]
        if incarnation.listener is not None:
            incarnation.listener.finish()
        timer = self._leaving.pop(incarnation, None)
        if timer is not None:
            timer.cancel()  # it was told to
        else:
            _log.warning("core %d: process %d ended with %s", core, process.pid, exitcode)
        progress = incarnation.ready
        if incarnation.seat:
            ending = Ending(process.pid, exitcode, incarnation.condemned)
            progress = self._events.exited(incarnation, ending)
        failures = 0 if incarnation.ready else self._failures.get(core, 0) + 1
        if exitcode == UNINITIALIZED and not incarnation.ready:
            self._refusal = incarnation.last_words() or self._refusal
            failures = START_ATTEMPTS  # it would raise the same in the next one
        incarnation.close_link()
        if self._stopped:  # by a handler that heard its last words
            return
        if not incarnation.seat:
            self._failures[core] = failures
            self._succeed_later(core, progress=not incarnation.ready)
        elif incarnation.seat == core:
            self._failures[core] = failures
            self._restart_later(
                core, self._pause_after(core, progress=progress or not incarnation.ready)
            )

    def _pause_after(self, core: int, *, progress: bool) -> float | None:
        """How long to wait before a core's next process is started, seconds; None: start none."""
        failures = self._failures[core]
        if failures >= START_ATTEMPTS:
            self._reasons[core] = NEVER_UP
            return None
        if failures:
            return START_PAUSE * 2.0 ** (failures - 1)
        if progress:
            return 0.0
        pause = self._intensity[core].end_without_progress(self._loop.time())
        if pause is None:
            limit, period = self._settings.restart_limit, self._settings.restart_period
            self._reasons[core] = (
                f"more than {limit} of its processes (restart_limit) ended within {period:g} s "
                "(restart_period), none of which had answered for a token before. The WorkerLost "
                "errors of the tokens that they were running say how they ended."
            )
        return pause

    def _restart_later(self, core: int, pause: float | None) -> None:
        """Give a core another process after a pause, seconds; None: give the core up."""
        retry = self._retries.pop(core, None)
        if retry is not None:
            retry.cancel()
        successor = self.successors.pop(core, None)
        if successor is not None:
            self._reasons.pop(core, None)  # it is not given up after all
            self.restarts[core] += 1
            self._seat(successor)
        elif pause is None:
            _log.error("core %d is given up: %s", core, self._reasons[core])
            self._events.given_up(core, GivenUp(self._reasons[core], self._refusal))
        elif pause:
            self._retries[core] = Timer(self._loop, partial(self._restart, core)).run_within(pause)
        else:
            self._restart(core)

    def _restart(self, core: int) -> None:
        self._retries.pop(core, None)
        self.restarts[core] += 1
        self._start_or_retry(core)

    def _seat(self, incarnation: Incarnation) -> None:
        """Give a process the seat of its core."""
        if incarnation.ready:
            self._failures[incarnation.core] = 0
        incarnation.seat = incarnation.core
        self.links[incarnation.core] = incarnation
        if incarnation.ready:
            self._events.took_over(incarnation)

    # ---- replacing a process that is well

    def replace(self, core: int) -> None:
        """Start a process that is to take over from a core's; a failure is tried again later."""
        self._failures[core] = 0
        self._start_successor(core)

    def _start_successor(self, core: int) -> None:
        self._retries.pop(core, None)
        try:
            self.successors[core] = successor = self._launch(core)
        except CoreStartError as error:
            _log.error("core %d: %s", core, error)
            self._failures[core] = self._failures.get(core, 0) + 1
            self._succeed_later(core, progress=True)
        else:
            self._events.launched(successor)

    def is_replacing(self, core: int) -> bool:
        """Whether a core's successor was started, or will be in a moment."""
        return core in self.successors or core in self._retries

    def _succeed_later(self, core: int, *, progress: bool) -> None:
        """Try again later after a successor could not be started, or ended before its handover."""
        pause = self._pause_after(core, progress=progress)
        if pause is None:
            self.irreplaceable_cores[core] = reason = self._reasons.pop(core)
            _log.error("core %d: its process cannot be replaced: %s", core, reason)
            self._events.irreplaceable(core)
        else:
            self._retries[core] = Timer(
                self._loop, partial(self._start_successor, core)
            ).run_within(pause)

    def relieve(self, core: int, seat: int) -> None:
        """Let a core's successor take over; the old process drains under `seat` until dismissed.

        Without a successor the core is given up.
        """
        old = self.links.pop(core)
        old.seat = seat
        self.links[seat] = old
        successor = self.successors.pop(core, None)
        if successor is None:
            self._reasons[core] = self.irreplaceable_cores[core]
            self._events.given_up(core, GivenUp(self._reasons[core], self._refusal))
            return
        self.recycled[core] += 1
        _log.info(
            "core %d: process %d is relieved by %d",
            core,
            old.launched.process.pid,
            successor.launched.process.pid,
        )
        self._seat(successor)

    def dismiss(self, link: CoreLink) -> None:
        """Tell a relieved process to end, and kill a process that does not within `grace`."""
        assert isinstance(link, Incarnation), "links come from this backend"
        if link not in self._leaving:
            kill = link.launched.process.kill
            self._leaving[link] = Timer(self._loop, kill).run_within(self._settings.grace)
            link.tell_to_leave()

    # ---- the end

    def stop(self) -> None:
        """End all processes: by request, and after `grace` by force; blocks until all are gone."""
        self._stopped = True
        self._to_start.clear()
        self._glance.cancel()
        for retry in self._retries.values():
            retry.cancel()
        self._retries.clear()
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        leaving = self.all_links()
        self.links.clear()
        self.successors.clear()
        for incarnation in leaving:
            self._watch.end_watch(incarnation)
            if incarnation.is_up():
                incarnation.tell_to_stop()
            else:
                incarnation.launched.process.kill()  # it would be told only once it is up
        deadline = time.monotonic() + self._settings.grace
        try:
            for incarnation in leaving:
                # The socket reaches its end with the process. (Popen.wait(timeout) would poll.)
                gone = select.poll()
                gone.register(incarnation.launched.control, select.POLLIN)
                gone.poll(max(0.0, deadline - time.monotonic()) * 1000)
        finally:  # also at a Ctrl-C, for somebody who has no patience
            _end_processes(leaving)
            if self.arena is not None:
                self.arena.close_arena()

    def abandon(self) -> None:
        """Let go of the child processes in a fork: the parent keeps its children."""
        self._to_start.clear()
        for incarnation in self.all_links():
            os.close(incarnation.launched.lifeline)
            incarnation.launched.control.close()
            os.close(incarnation.launched.voice)
        if self.arena is not None:
            self.arena.disown_arena()


def _end_processes(processes: list[Incarnation]) -> None:
    """End processes by force, unless ended already, and give up their descriptors and memory."""
    for incarnation in processes:
        incarnation.launched.process.kill()
    for incarnation in processes:
        incarnation.launched.process.wait()
    try:
        for incarnation in processes:
            if incarnation.listener is not None:
                incarnation.listener.finish()
    finally:
        for incarnation in processes:
            incarnation.close_link()
