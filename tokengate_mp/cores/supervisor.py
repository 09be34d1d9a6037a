"""The core processes: started, watched, replaced when they die or are worn, ended.

A process that is to be replaced while it is well goes on until its *successor* is up. That takes
its seat then, and the old one, which is *relieved*, stays on a seat of its own until it holds no
token any more (see `scheduling.cores.handover`); after that it is told to end, like all at a stop.
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
from typing import Final, Protocol

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.launch import launch
from tokengate_mp.cores.leases import Leases
from tokengate_mp.cores.output import Voices
from tokengate_mp.cores.watch import Watch
from tokengate_mp.errors import CoreStartError
from tokengate_mp.loops.timers import Timer
from tokengate_mp.scheduling.policy.restart_intensity import Intensity
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.protocol.control import UNINITIALIZED

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


class Watcher(Protocol):
    """Who is told of what happens to the processes."""

    def launched(self, incarnation: Incarnation) -> None:
        """The process was started, and takes requests as soon as it is up."""

    def heard(self, incarnation: Incarnation) -> None:
        """The process has rung."""

    def exited(self, incarnation: Incarnation, exitcode: int | None) -> None:
        """The process has ended; what it left in its mailbox can still be read."""

    def given_up(self, core: int) -> None:
        """No more processes are started for this core."""

    def took_over(self, incarnation: Incarnation) -> None:
        """The process has got its core's seat, and may be ready already."""

    def irreplaceable(self) -> None:
        """No process can be started that would take over from a core's."""


class Supervisor:
    """Starts, watches and ends the processes of all cores.

    Args:
        settings: The coordinator's settings.
        loop: The event loop in whose thread everything here happens.
        watcher: Who is told.
        voices: Hears what the processes print and log.

    Attributes:
        living: The process on each seat: that of a core's number gets the core's tokens.
        successors: The process of each core that is to take over from that.
        irreplaceable: Cores for which no successor could be started, each with why.
        restarts: How many times each core's process was started anew after it had ended.
        recycled: How many times each core's process was relieved.
        voices: Hears what the processes print and log.
        refusal: What the initializer raised, as an encoded failure; empty if it has not.
        arena: Where what is large goes; None: with all else.
        reasons: Why each core was given up that was, in the order in which they were.
    """

    def __init__(
        self,
        settings: CoordinatorSettings,
        loop: asyncio.AbstractEventLoop,
        watcher: Watcher,
        voices: Voices,
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._watcher = watcher
        self._watch = Watch(loop, watcher.heard, self.reap)
        self._to_start: deque[int] = deque()
        self._failures: dict[int, int] = {}
        self._retries: dict[int, Timer] = {}
        self._leaving: dict[Incarnation, Timer] = {}
        self.living: dict[int, Incarnation] = {}
        self.voices = voices
        self._stopped = False
        self.successors: dict[int, Incarnation] = {}
        self.irreplaceable: dict[int, str] = {}
        self.refusal = b""
        self.arena: ParentArena | None = None
        self.reasons: dict[int, str] = {}
        self.restarts = dict.fromkeys(range(1, len(settings.cpus) + 1), 0)
        self.recycled = dict.fromkeys(self.restarts, 0)
        self._intensity = {
            core: Intensity(settings.restart_limit, settings.restart_period)
            for core in self.restarts
        }

    def open(self) -> None:
        """Start the first core's process now, and those of the others as the loop goes round.

        Each takes the loop some 2 ms; they come up side by side all the same, which takes them far
        longer. What fails for the first would fail for all. If only another's cannot be started,
        that is tried again, as if it had ended.

        Raises:
            CoreStartError: It cannot be started.
        """
        settings = self._settings
        self.arena = ParentArena.make(settings.max_shared_bytes, len(settings.cpus))
        first, *others = self.restarts
        try:
            self._start(first)
        except CoreStartError:
            self.stop_all()
            raise
        self._to_start.extend(others)
        self._loop.call_soon(self._start_others)

    def start_next(self) -> None:
        """Start the process of the next core that has had none, if there is one."""
        if self._to_start:
            self._start_or_retry(self._to_start.popleft())

    def start_rest(self) -> None:
        """Start those of all that have had none."""
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
            self._start(core)
        except CoreStartError as error:
            _log.error("core %d: %s", core, error)
            self._failures[core] = self._failures.get(core, 0) + 1
            self._replace(core, self._pause_after(core, in_vain=False))

    def _start(self, core: int) -> None:
        self.irreplaceable.pop(core, None)
        incarnation = self._launch(core)
        incarnation.seat = core
        self.living[core] = incarnation

    def _launch(self, core: int) -> Incarnation:
        berth = None if self.arena is None else self.arena.berth()
        leases = Leases(self.arena, berth)
        try:
            launched = launch(core, self._settings, berth)
        except CoreStartError:
            leases.close()
            raise
        listener = self.voices.listener(core, launched, self._loop)
        incarnation = Incarnation(core, launched, listener, leases)
        incarnation.arm()
        try:
            self._watch.begin(incarnation)
        except OSError as error:  # no descriptor is left
            self._watch.end(incarnation)
            _end([incarnation])
            raise CoreStartError(f"core {core} cannot be watched: {error}") from error
        self._watcher.launched(incarnation)
        return incarnation

    def processes(self) -> list[Incarnation]:
        """All that there are, those that have not taken over among them."""
        return [*self.living.values(), *self.successors.values()]

    def condemn(self, incarnation: Incarnation) -> None:
        """Kill a process that cannot be trusted any more; its exit is handled like any other."""
        incarnation.launched.process.kill()

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
        self._watch.end(incarnation)
        if not incarnation.seat:
            self.successors.pop(core, None)
        else:
            del self.living[incarnation.seat]
        incarnation.listener.finish()
        timer = self._leaving.pop(incarnation, None)
        if timer is not None:
            timer.cancel()  # it was told to
        else:
            _log.warning("core %d: process %d ended with %s", core, process.pid, exitcode)
        if incarnation.seat:
            self._watcher.exited(incarnation, exitcode)
        failures = 0 if incarnation.ready else self._failures.get(core, 0) + 1
        if exitcode == UNINITIALIZED and not incarnation.ready:
            self.refusal = incarnation.last_words() or self.refusal
            failures = START_ATTEMPTS  # it would raise the same in the next one
        incarnation.close()
        if self._stopped:  # by a handler that heard its last words
            return
        if not incarnation.seat:
            self._failures[core] = failures
            self._succeed_later(core, in_vain=incarnation.ready)
        elif incarnation.seat == core:
            self._failures[core] = failures
            vain = incarnation.ready and not incarnation.fruitful
            self._replace(core, self._pause_after(core, in_vain=vain))

    def _pause_after(self, core: int, *, in_vain: bool) -> float | None:
        """How long to wait before a core's next process is started, seconds; None: start none."""
        failures = self._failures[core]
        if failures >= START_ATTEMPTS:
            self.reasons[core] = NEVER_UP
            return None
        if failures:
            return START_PAUSE * 2.0 ** (failures - 1)
        if not in_vain:
            return 0.0
        pause = self._intensity[core].ended(self._loop.time())
        if pause is None:
            limit, period = self._settings.restart_limit, self._settings.restart_period
            self.reasons[core] = (
                f"more than {limit} of its processes (restart_limit) ended within {period:g} s "
                "(restart_period), none of which had answered for a token before. The WorkerLost "
                "errors of the tokens that they were running say how they ended."
            )
        return pause

    def _replace(self, core: int, pause: float | None) -> None:
        """Give a core another process."""
        retry = self._retries.pop(core, None)
        if retry is not None:
            retry.cancel()
        successor = self.successors.pop(core, None)
        if successor is not None:
            self.reasons.pop(core, None)  # it is not given up after all
            self.restarts[core] += 1
            self._seat(successor)
        elif pause is None:
            _log.error("core %d is given up: %s", core, self.reasons[core])
            self._watcher.given_up(core)
        elif pause:
            self._retries[core] = Timer(self._loop, partial(self._restart, core)).run_within(pause)
        else:
            self._restart(core)

    def _seat(self, incarnation: Incarnation) -> None:
        if incarnation.ready:
            self._failures[incarnation.core] = 0
        incarnation.seat = incarnation.core
        self.living[incarnation.core] = incarnation
        self._watcher.took_over(incarnation)

    # ---- replacing a process that is well

    def succeed(self, core: int) -> None:
        """Start a process that is to take over from a core's; should that fail, again later."""
        self._failures[core] = 0
        self._start_successor(core)

    def _start_successor(self, core: int) -> None:
        self._retries.pop(core, None)
        try:
            self.successors[core] = self._launch(core)
        except CoreStartError as error:
            _log.error("core %d: %s", core, error)
            self._failures[core] = self._failures.get(core, 0) + 1
            self._succeed_later(core, in_vain=False)

    def is_replacing(self, core: int) -> bool:
        """Whether a core's successor was started, or will be in a moment."""
        return core in self.successors or core in self._retries

    def _succeed_later(self, core: int, *, in_vain: bool) -> None:
        """A successor could not be started, or has ended before it took over."""
        pause = self._pause_after(core, in_vain=in_vain)
        if pause is None:
            self.irreplaceable[core] = reason = self.reasons.pop(core)
            _log.error("core %d: its process cannot be replaced: %s", core, reason)
            self._watcher.irreplaceable()
        else:
            self._retries[core] = Timer(
                self._loop, partial(self._start_successor, core)
            ).run_within(pause)

    def relieve(self, core: int, seat: int) -> None:
        """Let a core's successor take over; its process gets this seat, and stays until it is told.

        Without a successor the core is given up.
        """
        old = self.living.pop(core)
        old.seat = seat
        self.living[seat] = old
        successor = self.successors.pop(core, None)
        if successor is None:
            self.reasons[core] = self.irreplaceable[core]
            self._watcher.given_up(core)
            return
        old.shared = successor.shared = True
        self.recycled[core] += 1
        _log.info(
            "core %d: process %d is relieved by %d",
            core,
            old.launched.process.pid,
            successor.launched.process.pid,
        )
        self._seat(successor)

    def dismiss(self, incarnation: Incarnation) -> None:
        """Tell a process that was relieved to end, and end it if it does not within `grace`."""
        if incarnation not in self._leaving:
            process = incarnation.launched.process
            self._leaving[incarnation] = Timer(self._loop, process.kill).run_within(
                self._settings.grace
            )
            incarnation.tell_to_leave()

    def _restart(self, core: int) -> None:
        self._retries.pop(core, None)
        self.restarts[core] += 1
        self._start_or_retry(core)

    def stop_all(self) -> None:
        """End all processes: by request, and after `grace` by force. Blocks until they are gone."""
        self._stopped = True
        self._to_start.clear()
        for retry in self._retries.values():
            retry.cancel()
        self._retries.clear()
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        leaving = self.processes()
        self.living.clear()
        self.successors.clear()
        for incarnation in leaving:
            self._watch.end(incarnation)
            if incarnation.is_ready():
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
            _end(leaving)
            if self.arena is not None:
                self.arena.close_arena()

    def abandon(self) -> None:
        """In a fork of this process: let go of the children, which are the parent's."""
        self._to_start.clear()
        for incarnation in self.processes():
            os.close(incarnation.launched.lifeline)
            incarnation.launched.control.close()
            os.close(incarnation.launched.voice)
        if self.arena is not None:
            self.arena.disown_arena()


def _end(processes: list[Incarnation]) -> None:
    """End processes by force, unless they have ended, and give up what is shared with them."""
    for incarnation in processes:
        incarnation.launched.process.kill()
    for incarnation in processes:
        incarnation.launched.process.wait()
    try:
        for incarnation in processes:
            incarnation.listener.finish()
    finally:
        for incarnation in processes:
            incarnation.close()
