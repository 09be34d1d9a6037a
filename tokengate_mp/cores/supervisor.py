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
from tokengate_mp.cores.shared_start import SharedStart
from tokengate_mp.cores.watch import ProcessWatch
from tokengate_mp.errors import CoreStartError
from tokengate_mp.loops.timers import Timer
from tokengate_mp.ports import BackendEvents, CoreLink, Ending, GivenUp
from tokengate_mp.scheduling.policy.restart import GiveUp, RestartPolicy
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.protocol.control import PATIENT_NS, UNINITIALIZED

_log = logging.getLogger(__name__)

REAP_SECONDS: Final = 1.0
"""How long a process whose end of the control socket is closed may take to be gone."""


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
        self._start = SharedStart(loop)
        self._watch = ProcessWatch(loop, self._heard, self.reap)
        self._glance = Timer(loop, self._look_around)
        self._to_start: deque[int] = deque()
        self._retries: dict[int, Timer] = {}
        self._leaving: dict[Incarnation, Timer] = {}
        self.links: dict[int, Incarnation] = {}
        self._stopped = False
        self.successors: dict[int, Incarnation] = {}
        self.irreplaceable_cores: dict[int, str] = {}
        self._refusal = b""
        self.arena: ParentArena | None = None
        self.restarts = dict.fromkeys(range(1, len(settings.cpus) + 1), 0)
        self.recycled = dict.fromkeys(self.restarts, 0)
        self._policy = RestartPolicy(self.restarts, settings.restart_limit, settings.restart_period)

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
            self._restart_later(core, self._policy.not_started(core))

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
            launched = launch(core, self._settings, self._start.surroundings(), berth)
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
        link.launched.kill()

    def reap(self, incarnation: Incarnation) -> None:
        """The process has ended, or is about to."""
        process = incarnation.launched.process
        try:
            exitcode = process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:
            # It closed its control socket, yet lives: a token closed descriptors it did not own.
            incarnation.launched.kill()
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
        progress = False
        if incarnation.seat:
            ending = Ending(process.pid, exitcode, incarnation.condemned)
            progress = self._events.exited(incarnation, ending)
        # (What the initializer raised, it would raise in the next process as well.)
        hopeless = exitcode == UNINITIALIZED and not incarnation.ready
        if hopeless:
            self._refusal = incarnation.last_words() or self._refusal
        incarnation.close_link()
        # (It may have been stopped by a handler that heard its last words. And the core of a
        # process that was draining has another.)
        if not self._stopped and incarnation.seat in {0, core}:
            self._start_another(incarnation, progress=progress, hopeless=hopeless)

    def _start_another(self, incarnation: Incarnation, *, progress: bool, hopeless: bool) -> None:
        """Start another process in place of one that has ended, if and when the policy says so."""
        core = incarnation.core
        if incarnation.ready:
            verdict = self._policy.ready_ended(core, self._loop.time(), made_progress=progress)
        else:
            verdict = self._policy.not_started(core, hopeless=hopeless)
        if incarnation.seat:
            self._restart_later(core, verdict)
        else:
            self._succeed_later(core, verdict)

    def _restart_later(self, core: int, verdict: float | GiveUp) -> None:
        """Give a core another process after a pause, seconds; or give the core up."""
        retry = self._retries.pop(core, None)
        if retry is not None:
            retry.cancel()
        successor = self.successors.pop(core, None)
        if successor is not None:
            self.restarts[core] += 1  # and it is not given up, whatever the verdict
            self._seat(successor)
        elif isinstance(verdict, GiveUp):
            _log.error("core %d is given up: %s", core, verdict.reason)
            self._events.given_up(core, GivenUp(verdict.reason, self._refusal))
        elif verdict:
            restart = Timer(self._loop, partial(self._restart, core))
            self._retries[core] = restart.run_within(verdict)
        else:
            self._restart(core)

    def _restart(self, core: int) -> None:
        self._retries.pop(core, None)
        self.restarts[core] += 1
        self._start_or_retry(core)

    def _seat(self, incarnation: Incarnation) -> None:
        """Give a process the seat of its core."""
        if incarnation.ready:
            self._policy.came_up(incarnation.core)
        incarnation.seat = incarnation.core
        self.links[incarnation.core] = incarnation
        if incarnation.ready:
            self._events.took_over(incarnation)

    # ---- replacing a process that is well

    def replace(self, core: int) -> None:
        """Start a process that is to take over from a core's; a failure is tried again later."""
        self._policy.came_up(core)  # attempts count anew
        self._start_successor(core)

    def _start_successor(self, core: int) -> None:
        self._retries.pop(core, None)
        try:
            self.successors[core] = successor = self._launch(core)
        except CoreStartError as error:
            _log.error("core %d: %s", core, error)
            self._succeed_later(core, self._policy.not_started(core))
        else:
            self._events.launched(successor)

    def renew(self) -> None:
        """Have processes that are started from now on begin with the surroundings of now.

        Raises:
            CoreStartError: There is no interpreter, or no descriptor is left.
        """
        self._start.renew()
        self.irreplaceable_cores.clear()

    def is_replacing(self, core: int) -> bool:
        """Whether a core's successor was started, or will be in a moment."""
        return core in self.successors or core in self._retries

    def _succeed_later(self, core: int, verdict: float | GiveUp) -> None:
        """Start another successor after a pause, seconds; or none, and let the process go on."""
        if isinstance(verdict, GiveUp):
            self.irreplaceable_cores[core] = verdict.reason
            _log.error("core %d: its process cannot be replaced: %s", core, verdict.reason)
            self._events.irreplaceable(core)
        else:
            start = Timer(self._loop, partial(self._start_successor, core))
            self._retries[core] = start.run_within(verdict)

    def relieve(self, core: int, seat: int) -> None:
        """Let a core's successor take over; the old process drains under `seat` until dismissed.

        Without a successor the core is given up.
        """
        old = self.links.pop(core)
        old.seat = seat
        self.links[seat] = old
        successor = self.successors.pop(core, None)
        if successor is None:
            reason = self.irreplaceable_cores[core]
            self._events.given_up(core, GivenUp(reason, self._refusal))
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
            end = partial(self._end_overdue, link)
            self._leaving[link] = Timer(self._loop, end).run_within(self._settings.grace)
            link.tell_to_leave()

    def _end_overdue(self, link: Incarnation) -> None:
        """Kill a process that was told to end, and did not."""
        _log.warning(
            "core %d: process %d was told to end, and has not within %.3g s (`grace`): it is "
            "killed",
            link.core,
            link.launched.process.pid,
            self._settings.grace,
        )
        link.launched.kill()

    # ---- the end

    def stop(self, signal: int | None = None) -> None:
        """End all processes: by request, and after `grace` by force; blocks until all are gone.

        Args:
            signal: What they are sent in place of the request.
        """
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
            if signal is not None:
                incarnation.launched.process.send_signal(signal)
            elif incarnation.is_up():
                incarnation.tell_to_stop()
            else:
                incarnation.launched.kill()  # it would be told only once it is up
        deadline = time.monotonic() + self._settings.grace
        try:
            for incarnation in leaving:
                # The socket reaches its end with the process. (Popen.wait(timeout) would poll.)
                gone = select.poll()
                gone.register(incarnation.launched.control, select.POLLIN)
                if not gone.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    self._end_overdue(incarnation)
        finally:  # also at a Ctrl-C, for somebody who has no patience
            _end_processes(leaving)
            self._start.close()
            if self.arena is not None:
                self.arena.close_arena()

    def abandon(self) -> None:
        """Let go of the child processes in a fork: the parent keeps its children."""
        self._to_start.clear()
        for incarnation in self.all_links():
            os.close(incarnation.launched.lifeline)
            incarnation.launched.control.close()
            os.close(incarnation.launched.voice)
        self._start.disown()
        if self.arena is not None:
            self.arena.disown_arena()


def _end_processes(processes: list[Incarnation]) -> None:
    """End processes by force, unless ended already, and give up their descriptors and memory."""
    for incarnation in processes:
        incarnation.launched.kill()
    for incarnation in processes:
        incarnation.launched.process.wait()
    try:
        for incarnation in processes:
            if incarnation.listener is not None:
                incarnation.listener.finish()
    finally:
        for incarnation in processes:
            incarnation.close_link()
