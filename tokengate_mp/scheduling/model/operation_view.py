"""Frozen copies of the counts and durations of operations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tokengate_mp.config.options import Weight
from tokengate_mp.scheduling.model.breaker import BreakerView
from tokengate_mp.scheduling.model.operation import Operation


@dataclass(frozen=True, slots=True)
class OperationView:
    """Counts and durations of an operation type at some moment.

    Attributes:
        weight: Its weight class (that of the first call, should calls differ).
        completed: Tokens whose function returned.
        failed: Tokens whose function raised, or that were lost with their core process.
        killed: Tokens ended on request.
        timeout: Tokens whose time was up.
        retried: Runs that failed and were followed by another one.
        p50: Median duration of its latest runs, ns; None before the first.
        p95: 95th percentile of the same, ns.
        max: The longest run so far, ns.
        paused: Whether its waiting tokens are held back.
        max_running: How many of its tokens cores may hold; None for any number.
        held: How many they hold, those of its maps included; None where that is not limited.
        breaker: Its circuit breaker; None if it has none.
        tags: The user's own tags of its functions.
    """

    weight: Weight
    completed: int
    failed: int
    killed: int
    timeout: int
    retried: int
    p50: int | None
    p95: int | None
    max: int | None
    paused: bool
    max_running: int | None
    held: int | None
    breaker: BreakerView | None
    tags: Mapping[str, Any]


def operation_views(
    operations: Iterable[Operation], paused: Collection[str] = (), now: int = 0
) -> dict[str, OperationView]:
    """Views of all operations by name, the calls of all weights together.

    Args:
        operations: All operations.
        paused: The names of those whose tokens are held back.
        now: The time, ns.
    """
    by_name: dict[str, list[Operation]] = {}
    # (Copies: a call in another thread may add an operation, or tags, while this goes on.)
    for operation in tuple(operations):
        by_name.setdefault(operation.name, []).append(operation)
    return {name: _view(together, name in paused, now) for name, together in by_name.items()}


def _view(
    operations: list[Operation],
    paused: bool,  # noqa: FBT001 - private
    now: int,
) -> OperationView:
    ordered = sorted(chain.from_iterable(each.recent for each in operations))
    count = len(ordered)
    limit, breaker = operations[0].limit, operations[0].breaker
    return OperationView(
        weight=operations[0].weight,
        completed=sum(each.completed for each in operations),
        failed=sum(each.failed for each in operations),
        killed=sum(each.killed for each in operations),
        timeout=sum(each.timeout for each in operations),
        retried=sum(each.retried for each in operations),
        p50=ordered[count // 2] if ordered else None,
        p95=ordered[count * 95 // 100] if ordered else None,
        max=max(each.longest for each in operations) if ordered else None,
        paused=paused,
        max_running=None if limit is None else limit.most,
        held=None if limit is None else limit.held,
        breaker=None if breaker is None else breaker.view(now),
        tags={tag: value for each in operations for tag, value in each.tags.copy().items()},
    )
