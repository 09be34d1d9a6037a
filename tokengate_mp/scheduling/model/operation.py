"""One operation type: its name and weight, and the measured durations of its runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from tokengate_mp.config.options import Policy, Weight
from tokengate_mp.scheduling.model import pacing
from tokengate_mp.scheduling.model.breaker import Breaker
from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit

RECENT: Final = 1024
"""How many of an operation's latest durations are kept for its percentiles."""


class Operation:
    """An operation type, in the scheduler's eyes.

    Everything here is changed in the engine's thread alone, but for `divisible` and `tags`, which
    are declared with calls (see `operations.OperationRegistry`).

    Attributes:
        name: The operation_type.
        weight: Its weight class.
        cost: What one token of it is charged against a core's window, ns (see `pacing`).
        floor: How many tokens a core may always hold before one of these is refused.
        policy: The rules for tokens that take too long or fail; None for none.
        limit: How many of its tokens cores may hold; None for any number.
        breaker: Refuses calls while too many tokens fail; None if it takes all.
        exclusive: Whether each of its tokens has its core process to itself.
        divisible: Whether a core that runs one of its tokens can be asked to give part of it back.
        tags: The user's own tags of the functions that were called, for statistics.
    """

    __slots__ = (
        "blocking",
        "breaker",
        "completed",
        "cost",
        "divisible",
        "exclusive",
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

    def __init__(  # noqa: PLR0913 - what is known from the first
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
        self.exclusive: bool = policy is not None and policy.exclusive
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
        """Count finished runs, and charge the next tokens by their durations.

        Args:
            durations: How long each took, ns.
            blocking: Whether they spent most of that time off the CPU.
        """
        self.mean = pacing.smoothed(self.mean, durations, first=not self.recent)
        self.recent.extend(durations)
        self.longest = max(self.longest, *durations)
        self._charge(self.mean, blocking=blocking)

    def expect(self, duration: int) -> None:
        """Charge tokens that come from now on as if each ran for `duration` ns.

        For batches, which differ in size from those before: the mean is of earlier sizes.
        """
        self._charge(duration, blocking=self.blocking)

    def _charge(self, duration: float, *, blocking: bool) -> None:
        # Whoever is alone shares its core with nobody while it waits.
        blocking = blocking and not self.exclusive
        self.blocking = blocking
        self.cost = pacing.cost(duration, self.threads, blocking=blocking)
        self.floor = pacing.floor(self.cost, self.threads, blocking=blocking)
