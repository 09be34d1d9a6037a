"""When an operation that fails too often takes no more calls: what `breaker=` is given."""

from __future__ import annotations

import msgspec

from tokengate_mp.config.checks import seconds, whole


class CircuitBreaker(msgspec.Struct, frozen=True):
    """Opens when too many tokens of an operation fail, and calls are then refused for a while.

    A token fails if its function raises (after its last retry), its time is up, or its process
    dies. One that is killed or cancelled, or is never run, says nothing.

    While it is open, calls raise `OperationBlocked`. After `pause` seconds it is *half open*:
    `probes` calls are let through. Once so many have completed it closes; if one fails it opens
    again.

    Args:
        failure_share: It opens when so many of the latest tokens have failed, from above 0 to 1.
        window: Seconds: tokens that ended longer ago do not count.
        minimum: It does not open before so many have ended within the window.
        pause: Seconds from opening until calls are let through to see whether they fail.
        probes: How many.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range.
    """

    failure_share: float = 0.5
    window: float = 30.0
    minimum: int = 10
    pause: float = 10.0
    probes: int = 3

    def __post_init__(self) -> None:
        share = self.failure_share
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise TypeError(f"failure_share must be a number, not {type(share).__name__}")
        if not 0 < share <= 1:
            raise ValueError(f"failure_share must be above 0 and at most 1, not {share!r}")
        seconds("window", self.window, zero=False)
        seconds("pause", self.pause)
        whole("minimum", self.minimum, 1, 1 << 62)
        whole("probes", self.probes, 1, 1_000_000)
