"""Observation: views of an engine for any thread, and when its last turn ended."""

from __future__ import annotations

from time import monotonic_ns
from typing import Final

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.outbound.intake import Intake
from tokengate_mp.engine.peers import Peers
from tokengate_mp.observe.events import PRESSURE_BEGAN, PRESSURE_ENDED, EventRing
from tokengate_mp.observe.view import CoreStatus, EngineView
from tokengate_mp.ports import CoreBackend, CoreFacts, CoreLink
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.scheduling.snapshot import Snapshot

_TRIES: Final = 4
"""How often a view is begun anew that a change has disturbed."""


class Observation:
    """Views of an engine.

    Args:
        settings: The coordinator's settings.
        scheduler: Has the counts.
        backend: Has the links.
        peers: Know which tokens threads have begun on top of others.
        intake: Has calls that the scheduler was not told of.
        events: Takes events.

    Attributes:
        last_turn: When the engine's last turn ended, monotonic ns; 0 before the first.
    """

    __slots__ = (
        "_backend",
        "_events",
        "_intake",
        "_peers",
        "_scheduler",
        "_settings",
        "_under_pressure",
        "last_turn",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - all that there is to see
        self,
        settings: CoordinatorSettings,
        scheduler: Scheduler,
        backend: CoreBackend,
        peers: Peers,
        intake: Intake,
        events: EventRing,
    ) -> None:
        self.last_turn = 0
        self._settings = settings
        self._scheduler = scheduler
        self._backend = backend
        self._peers = peers
        self._intake = intake
        self._events = events
        self._under_pressure = False

    # ---- in any thread

    def view_now(self) -> EngineView:
        """View the engine by atomic reads, in any thread (see `observe.view`).

        What is copied can change during the copy only in an interpreter without a GIL, which says
        so by a RuntimeError; then the view is begun anew.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._view(self._scheduler.glance(monotonic_ns()))
            except RuntimeError:
                continue
        return self._view(self._scheduler.glance(monotonic_ns()))

    def _view(self, counts: Snapshot) -> EngineView:
        backend, cpus = self._backend, self._settings.pins
        facts: dict[int, CoreFacts] = {}
        running: dict[int, set[int]] = {}
        processes = dict.fromkeys(range(1, len(cpus) + 1), 0)
        for seat, link in list(backend.links.items()):
            seen = _facts(link)
            if seen is None:
                continue
            core = link.core
            if seat == core:
                facts[core] = seen
            processes[core] += 1
            begun = running.setdefault(core, set())
            begun.update(seen.running, self._peers.begun_on_top(link))
        dropped = backend.dropped_output()
        arena = self._intake.arena
        arguments, results = (0, 0) if arena is None else arena.bytes_in_use()
        return EngineView(
            taken=monotonic_ns(),
            last_turn=self.last_turn,
            created=self._intake.created(),
            counts=counts,
            cores=tuple(
                CoreStatus(
                    core,
                    cpu,
                    facts.get(core),
                    processes[core],
                    frozenset(running.get(core, ())),
                    backend.restarts[core],
                    backend.recycled[core],
                    dropped[core],
                )
                for core, cpu in enumerate(cpus, 1)
            ),
            argument_bytes=arguments,
            result_bytes=results,
            shared_limit=self._settings.max_shared_bytes,
        )

    # ---- in the loop's thread

    def exact_view(self) -> EngineView:
        """View the engine with counts that add up, after pins whose time is up were dropped."""
        return self._view(self._scheduler.snapshot(monotonic_ns()))

    def note_pressure(self, admission: Admission) -> None:
        """Record the beginning or end of backpressure; called in turns while `pressed` is set."""
        if not self._under_pressure:
            self._under_pressure = True
            self._events.record((PRESSURE_BEGAN, monotonic_ns(), admission.pending))
        admission.pressed = False  # first: another call may be refused from here on
        if admission.crowded or admission.is_full():
            admission.pressed = True
        else:
            self._under_pressure = False
            self._events.record((PRESSURE_ENDED, monotonic_ns(), admission.pending))


def _facts(link: CoreLink) -> CoreFacts | None:
    """The state of a process; None after its end, when its status page is closed."""
    try:
        return link.facts()
    except ValueError:
        return None
