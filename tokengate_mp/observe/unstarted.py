"""The status of an engine that was not started: all counts are 0, and nothing has ended."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.observe.stats import stats
from tokengate_mp.observe.view import CoreStatus, EngineView
from tokengate_mp.scheduling.snapshot import CoreView, Snapshot


class UnstartedPort:
    """A `control_port.StatusPort` without an engine: everything is 0, and nothing has ended.

    Args:
        settings: What the engine would be started with.
    """

    __slots__ = ("_settings",)

    def __init__(self, settings: CoordinatorSettings) -> None:
        self._settings = settings

    def stats(self) -> dict[str, Any]:
        """Make the numbers of `get_stats`: no core lives, and no token was made."""
        return stats(unstarted_view(self._settings))

    def recent_executions(self, count: int) -> list[dict[str, Any]]:
        """Return an empty list: no token was made."""
        del count
        return []

    def history_lines(self) -> bytes:
        """Return no line."""
        return b""


def unstarted_view(settings: CoordinatorSettings) -> EngineView:
    """Make the view of an engine that was not started."""
    numbered = list(enumerate(settings.pins, 1))
    nothing = frozenset[int]()
    counts = Snapshot(
        waiting=0,
        admitted=0,
        completed=0,
        failed=0,
        killed=0,
        timeout=0,
        paused=False,
        chains=0,
        cores=tuple(
            CoreView(core, ready=False, held=nothing, ended=nothing, answered=0)
            for core, _ in numbered
        ),
        operations={},
        pins=0,
    )
    return EngineView(
        taken=monotonic_ns(),
        last_turn=0,
        created=0,
        counts=counts,
        cores=tuple(
            CoreStatus(core, cpu, None, 0, nothing, restarts=0, recycled=0, dropped=0)
            for core, cpu in numbered
        ),
        argument_bytes=0,
        result_bytes=0,
        shared_limit=settings.max_shared_bytes,
    )
