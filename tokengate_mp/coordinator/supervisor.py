"""The core processes: started side by side, watched, replaced when they die, ended.

A process's death is seen through a pidfd, and without one by the end of its control socket: no
polling, and no signal handler that a user's code might replace.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import subprocess
import time
from typing import Final, Protocol

from tokengate_mp.coordinator.domain import Incarnation
from tokengate_mp.coordinator.launch import launch
from tokengate_mp.coordinator.lent import Lent
from tokengate_mp.errors import CoreStartError
from tokengate_mp.settings import CoordinatorSettings
from tokengate_mp.wire.regions import ParentArena
from tokengate_mp.wire.segment import portable
from tokengate_mp.worker.initializer import UNINITIALIZED

_log = logging.getLogger(__name__)

START_ATTEMPTS: Final = 3
"""After so many processes in a row that ended before they were ready, a core is given up."""

START_PAUSE: Final = 0.1
"""Seconds before the second attempt; twice as many before each further one."""

REAP_SECONDS: Final = 1.0
"""How long a process whose end of the control socket is closed may take to be gone."""


class Watcher(Protocol):
    """Who is told of what happens to the processes."""

    def launched(self, incarnation: Incarnation) -> None:
        """The process was started, and takes requests as soon as it is up."""

    def heard(self, incarnation: Incarnation) -> None:
        """The process has rung."""

    def exited(self, incarnation: Incarnation, exitcode: int | None) -> None:
        """The process has ended; what it left in its mailbox can still be read."""

    def given_up(self, core: int) -> None:
        """No process can be started for this core."""


class Supervisor:
    """Starts, watches and ends the processes of all cores.

    Args:
        settings: The coordinator's settings.
        loop: The event loop in whose thread everything here happens.
        watcher: Who is told.

    Attributes:
        living: The process of each core that has one.
        restarts: How many processes each core has had beyond its first.
        refusal: What the initializer raised, as an encoded failure; empty if it has not.
        arena: Where what is large goes; None: with all else.
    """

    def __init__(
        self, settings: CoordinatorSettings, loop: asyncio.AbstractEventLoop, watcher: Watcher
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._watcher = watcher
        self._failures: dict[int, int] = {}
        self._pidfds: dict[int, int] = {}
        self._retries: dict[int, asyncio.TimerHandle] = {}
        self.living: dict[int, Incarnation] = {}
        self.refusal = b""
        self.arena: ParentArena | None = None
        self.restarts = dict.fromkeys(range(1, len(settings.cpus) + 1), 0)

    def start_all(self) -> None:
        """Start a process for every core; they come up side by side.

        Raises:
            CoreStartError: One cannot be started; those that were have been ended again.
        """
        settings = self._settings
        self.arena = ParentArena.create(settings.max_shared_bytes, len(settings.cpus))
        try:
            for core in self.restarts:
                self._start(core)
        except CoreStartError:
            self.stop_all()
            raise

    def _start(self, core: int) -> None:
        settings = self._settings
        berth = None if self.arena is None else self.arena.berth()
        launched = launch(
            core,
            settings.cpus[core - 1],
            settings.threads_per_core,
            settings.ring_bytes,
            settings.initializer,
            berth,
        )
        incarnation = Incarnation(core, launched, Lent(self.arena, berth))
        incarnation.arm()
        self.living[core] = incarnation
        self._watch(incarnation)
        self._watcher.launched(incarnation)

    def _watch(self, incarnation: Incarnation) -> None:
        loop = self._loop
        loop.add_reader(incarnation.fileno(), self._watcher.heard, incarnation)
        if hasattr(os, "pidfd_open") and not portable():
            pidfd = os.pidfd_open(incarnation.launched.process.pid)
            self._pidfds[incarnation.core] = pidfd
            loop.add_reader(pidfd, self.reap, incarnation)
        else:
            loop.add_reader(incarnation.launched.control.fileno(), self.reap, incarnation)

    def _unwatch(self, incarnation: Incarnation) -> None:
        pidfd = self._pidfds.pop(incarnation.core, None)
        if not self._loop.is_closed():
            self._loop.remove_reader(incarnation.fileno())
            self._loop.remove_reader(incarnation.launched.control.fileno())
            if pidfd is not None:
                self._loop.remove_reader(pidfd)
        if pidfd is not None:
            os.close(pidfd)

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
        self._unwatch(incarnation)
        del self.living[core]
        _log.warning("core %d: process %d ended with %s", core, process.pid, exitcode)
        self._watcher.exited(incarnation, exitcode)
        failures = 0 if incarnation.ready else self._failures.get(core, 0) + 1
        if exitcode == UNINITIALIZED and not incarnation.ready:
            self.refusal = incarnation.last_words() or self.refusal
            failures = START_ATTEMPTS  # it would raise the same in the next one
        incarnation.close()
        self._failures[core] = failures
        self._replace(core)

    def _replace(self, core: int) -> None:
        failures = self._failures[core]
        if failures >= START_ATTEMPTS:
            _log.error("core %d is given up after %d failed starts", core, failures)
            self._watcher.given_up(core)
        elif failures:
            pause = START_PAUSE * 2 ** (failures - 1)
            self._retries[core] = self._loop.call_later(pause, self._restart, core)
        else:
            self._restart(core)

    def _restart(self, core: int) -> None:
        self._retries.pop(core, None)
        self.restarts[core] += 1
        try:
            self._start(core)
        except CoreStartError as error:
            _log.error("core %d: %s", core, error)
            self._failures[core] = self._failures.get(core, 0) + 1
            self._replace(core)

    def stop_all(self) -> None:
        """End all processes: by request, and after `grace` by force. Blocks until they are gone."""
        for retry in self._retries.values():
            retry.cancel()
        self._retries.clear()
        leaving = list(self.living.values())
        self.living.clear()
        for incarnation in leaving:
            self._unwatch(incarnation)
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
            for incarnation in leaving:
                incarnation.launched.process.kill()
            for incarnation in leaving:
                incarnation.launched.process.wait()
                incarnation.close()
            if self.arena is not None:
                self.arena.close()

    def abandon(self) -> None:
        """In a fork of this process: let go of the children, which are the parent's."""
        for incarnation in self.living.values():
            os.close(incarnation.launched.lifeline)
            incarnation.launched.control.close()
        if self.arena is not None:
            self.arena.abandon()
