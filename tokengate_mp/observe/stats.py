"""`get_stats()`: one plain dict, made from frozen views when it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.ports import CoreBackend
from tokengate_mp.scheduling.model.breaker import BreakerView
from tokengate_mp.scheduling.snapshot import Snapshot
from tokengate_mp.wire.arena.regions import ParentArena


def stats(  # noqa: PLR0913 - all that is shown
    snapshot: Snapshot,
    created: int,
    backend: CoreBackend,
    settings: CoordinatorSettings,
    arena: ParentArena | None,
    *,
    running: Mapping[int, Collection[int]],
) -> dict[str, Any]:
    """What the coordinator knows, as plain data.

    Args:
        snapshot: The scheduler's counts.
        created: Calls that the scheduler has not been told of yet.
        backend: The cores.
        settings: The coordinator's settings.
        arena: Where what is large goes, if there is such a place.
        running: By seat, the numbers of the tokens that its crew runs.
    """
    cores: list[dict[str, Any]] = []
    executing = 0
    began: defaultdict[int, list[int]] = defaultdict(list)
    dropped = backend.dropped_output()
    for seat, link in backend.links.items():
        began[link.core] += running[seat]
    for view in snapshot.cores:
        own = backend.links.get(view.core)
        executing_here = view.held.intersection(began.get(view.core, ()))
        # A token that was ended while it runs is counted as what it ended as.
        executing += sum(number not in view.ended for number in executing_here)
        cores.append(
            {
                "core": view.core,
                "pid": None if own is None else own.facts().pid,
                "cpu": settings.cpus[view.core - 1],
                "alive": own is not None and view.ready,
                "queued": len(view.held) - len(executing_here) if view.core in began else 0,
                "executing": len(executing_here),
                "completed": view.answered,
                "restarts": backend.restarts[view.core],
                "recycled": backend.recycled[view.core],
                "dropped": dropped[view.core],
            }
        )
    return {
        "cores": cores,
        "tokens": {
            TokenState.CREATED.value: created,
            TokenState.WAITING.value: snapshot.waiting,
            TokenState.ADMITTED.value: max(0, snapshot.admitted - executing),
            TokenState.EXECUTING.value: executing,
            TokenState.COMPLETED.value: snapshot.completed,
            TokenState.FAILED.value: snapshot.failed,
            TokenState.KILLED.value: snapshot.killed,
            TokenState.TIMEOUT.value: snapshot.timeout,
        },
        "operations": {
            name: {
                "weight": view.weight,
                "tags": dict(view.tags),
                "counts": {
                    "completed": view.completed,
                    "failed": view.failed,
                    "killed": view.killed,
                    "timeout": view.timeout,
                    "retried": view.retried,
                },
                "durations": {"p50": view.p50, "p95": view.p95, "max": view.max},
                "paused": view.paused,
                "max_running": view.max_running,
                "held": view.held,
                "breaker": None if view.breaker is None else _breaker(view.breaker),
            }
            for name, view in snapshot.operations.items()
        },
        "admission": {"paused": snapshot.paused},
        "conductor": {"domains": snapshot.chains},
        "sticky": {"pins": snapshot.pins},
        "shared_memory": {"limit": settings.max_shared_bytes, **_in_use(arena)},
    }


def _breaker(view: BreakerView) -> dict[str, Any]:
    return {
        "state": view.state.value,
        "ended": view.ended,
        "failed": view.failed,
        "seconds": view.left / 1e9,
    }


def _in_use(arena: ParentArena | None) -> dict[str, int]:
    """How many bytes of shared memory arguments and results take."""
    arguments, results = (0, 0) if arena is None else arena.bytes_in_use()
    return {"arguments": arguments, "results": results}
