"""One operation type: its name and weight, and what has been measured of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from tokengate_mp.config.options import Policy, Weight
from tokengate_mp.scheduling.model import pacing
from tokengate_mp.scheduling.model.breaker import Breaker, BreakerView
from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit

RECENT: Final = 1024
"""How many of an operation's latest durations its percentiles are taken from."""


@dataclass(frozen=True, slots=True)
class OperationView:
    """What is known of one operation type, at one moment.

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
        held: How many they do, those of its maps included; None where that is not limited.
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


class Operation:
    """An operation type as the scheduler sees it.

    Attributes:
        name: The operation_type.
        weight: Its weight class.
        cost: What one token of it is charged against a core's window, ns (see `pacing`).
        floor: How many tokens a core may always hold before one of these is refused.
        policy: What is done about tokens that take too long or fail; None for nothing.
        limit: How many of its tokens cores may hold; None for any number.
        breaker: Whether it takes calls; None if it always does.
        divisible: Whether a core that runs one of its tokens can be asked to give part of it back.
        tags: The user's own tags of the functions that were called, for whoever looks.
    """

    __slots__ = (
        "blocking",
        "breaker",
        "completed",
        "cost",
        "divisible",
        "failed",
        "floor",
        "killed",
        "limit",
        "longest",
        "mean",
        "name",
        "policy",
        "recent",
        "retried",
        "tags",
        "threads",
        "timeout",
        "weight",
    )

    def __init__(  # noqa: PLR0913 - what is known of it from the first
        self,
        name: str,
        weight: Weight,
        threads: int,
        policy: Policy | None = None,
        *,
        limit: ConcurrencyLimit | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.name: str = name
        self.weight: Weight = weight
        self.policy: Policy | None = policy
        self.limit: ConcurrencyLimit | None = limit
        self.breaker: Breaker | None = breaker
        self.threads: int = threads
        self.mean: float = 0.0
        self.blocking: bool = False
        self.divisible: bool = False
        self.cost: int = pacing.UNKNOWN_NS
        self.floor: int = pacing.UNKNOWN_FLOOR
        self.recent: deque[int] = deque(maxlen=RECENT)
        self.longest: int = 0
        self.completed: int = 0
        self.failed: int = 0
        self.killed: int = 0
        self.timeout: int = 0
        self.tags: dict[str, Any] = {}
        self.retried: int = 0

    def observe(self, durations: Sequence[int], *, blocking: bool) -> None:
        """Take note of finished runs.

        Args:
            durations: How long each took, ns.
            blocking: Whether they spent most of that time off the CPU.
        """
        self.mean = pacing.smoothed(self.mean, durations, first=not self.recent)
        self.recent.extend(durations)
        self.longest = max(self.longest, *durations)
        self._charge(self.mean, blocking=blocking)

    def expect(self, duration: int) -> None:
        """The tokens that come now will each take about so long, ns, unlike those before them."""
        self._charge(duration, blocking=self.blocking)

    def _charge(self, duration: float, *, blocking: bool) -> None:
        self.blocking = blocking
        self.cost = pacing.cost(duration, self.threads, blocking=blocking)
        self.floor = pacing.floor(self.cost, self.threads, blocking=blocking)


def views(
    operations: Iterable[Operation], paused: Collection[str] = (), now: int = 0
) -> dict[str, OperationView]:
    """Frozen copies of what is known now, by name: the calls of all weights together.

    Args:
        operations: All operations.
        paused: The names of those whose tokens are held back.
        now: The time, ns.
    """
    by_name: dict[str, list[Operation]] = {}
    # As they are now: a call in another thread may add one, or tags, while this goes on.
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
