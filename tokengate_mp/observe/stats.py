"""`get_stats()`: one plain dict, made from a frozen view when it is asked for."""

from __future__ import annotations

from typing import Any

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.observe.view import EngineView
from tokengate_mp.scheduling.model.breaker import BreakerView


def stats(view: EngineView) -> dict[str, Any]:
    """A view as plain data, under the keys that users know."""
    counts = view.counts
    cores: list[dict[str, Any]] = []
    executing = 0
    for status, counted in zip(view.cores, counts.cores, strict=True):
        running = counted.held & status.running
        # A token that was ended while it runs is counted as what it ended as.
        executing += len(running - counted.ended)
        cores.append(
            {
                "core": status.core,
                "pid": None if status.facts is None else status.facts.pid,
                "cpu": status.cpu,
                "alive": status.facts is not None and counted.ready,
                "queued": len(counted.held) - len(running) if status.processes else 0,
                "executing": len(running),
                "completed": counted.answered,
                "restarts": status.restarts,
                "recycled": status.recycled,
                "dropped": status.dropped,
            }
        )
    return {
        "cores": cores,
        "tokens": {
            TokenState.CREATED.value: view.created,
            TokenState.WAITING.value: counts.waiting,
            TokenState.ADMITTED.value: max(0, counts.admitted - executing),
            TokenState.EXECUTING.value: executing,
            TokenState.COMPLETED.value: counts.completed,
            TokenState.FAILED.value: counts.failed,
            TokenState.KILLED.value: counts.killed,
            TokenState.TIMEOUT.value: counts.timeout,
        },
        "operations": {
            name: {
                "weight": operation.weight,
                "tags": dict(operation.tags),
                "counts": {
                    "completed": operation.completed,
                    "failed": operation.failed,
                    "killed": operation.killed,
                    "timeout": operation.timeout,
                    "retried": operation.retried,
                },
                "durations": {"p50": operation.p50, "p95": operation.p95, "max": operation.max},
                "paused": operation.paused,
                "max_running": operation.max_running,
                "held": operation.held,
                "breaker": None if operation.breaker is None else _breaker(operation.breaker),
            }
            for name, operation in counts.operations.items()
        },
        "admission": {"paused": counts.paused},
        "conductor": {"domains": counts.chains},
        "sticky": {"pins": counts.pins},
        "shared_memory": {
            "limit": view.shared_limit,
            "arguments": view.argument_bytes,
            "results": view.result_bytes,
        },
    }


def _breaker(view: BreakerView) -> dict[str, Any]:
    return {
        "state": view.state.value,
        "ended": view.ended,
        "failed": view.failed,
        "seconds": view.left / 1e9,
    }
