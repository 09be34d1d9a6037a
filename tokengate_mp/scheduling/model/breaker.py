"""The circuit breaker of an operation: whether calls are taken.

A breaker is CLOSED as long as the tokens of its operation do not fail too often, counted over a
window of time. When they do it is OPEN, and calls are refused, until its pause is over: then it is
HALF_OPEN, and lets a few calls through, its *probes*. Once all of these have completed it is CLOSED
again; with the first that fails, OPEN. The end of a token that was sent before it opened says
nothing.

Nobody watches the clock: the next call finds that the pause is over. Calls and resets may come in
any thread, so they go by way of `policy.breakers.Breakers`, under its guard. What tokens end in is
told in the engine's thread: the only step that a call takes is that from OPEN to HALF_OPEN.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from tokengate_mp.config.circuit_breaker import CircuitBreaker

SLICES: Final = 16
"""Slices of a window: an end that is a slice older than the window is not counted."""

_NS: Final = 1_000_000_000


class BreakerState(Enum):
    """Whether calls are taken."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(Enum):
    """Why a breaker changes its state."""

    TRIPPED = "too many of the latest tokens failed"
    PAUSED = "its pause is over"
    PROBE_FAILED = "a probe failed"
    PROBES_COMPLETED = "all probes have completed"
    RESET = "somebody asked for it"


_S, _E = BreakerState, Event

TRANSITIONS: Final = MappingProxyType(
    {
        (_S.CLOSED, _E.TRIPPED): _S.OPEN,
        (_S.CLOSED, _E.RESET): _S.CLOSED,
        (_S.OPEN, _E.PAUSED): _S.HALF_OPEN,
        (_S.OPEN, _E.RESET): _S.CLOSED,
        (_S.HALF_OPEN, _E.PROBE_FAILED): _S.OPEN,
        (_S.HALF_OPEN, _E.PROBES_COMPLETED): _S.CLOSED,
        (_S.HALF_OPEN, _E.RESET): _S.CLOSED,
    }
)
"""The next state, by state and event. There are no other transitions."""


@dataclass(frozen=True, slots=True)
class BreakerView:
    """State and counts of a breaker.

    Attributes:
        state: Whether calls are taken.
        ended: How many tokens have ended within its window.
        failed: How many of these have failed.
        left: For how long no call is let through, ns.
    """

    state: BreakerState
    ended: int
    failed: int
    left: int


class Window:
    """Counts of tokens that have ended within a span of time.

    Args:
        span: The span, ns.

    Attributes:
        ended: How many have ended.
        failed: How many of them have failed.
    """

    __slots__ = ("_slice", "_slices", "ended", "failed")

    def __init__(self, span: int) -> None:
        self._slice = max(1, span // SLICES)
        self._slices: deque[list[int]] = deque()  # each: its index in time, ended, failed
        self.ended = 0
        self.failed = 0

    def count_end(self, now: int, *, failed: bool) -> None:
        """Count the end of a token at `now`."""
        self.slide(now)
        slices, current = self._slices, now // self._slice
        if not slices or slices[-1][0] != current:
            slices.append([current, 0, 0])
        slices[-1][1] += 1
        slices[-1][2] += failed
        self.ended += 1
        self.failed += failed

    def slide(self, now: int) -> None:
        """Drop the ends that are older than the span."""
        oldest = now // self._slice - SLICES
        while self._slices and self._slices[0][0] <= oldest:
            _, ended, failed = self._slices.popleft()
            self.ended -= ended
            self.failed -= failed

    def counts_at(self, now: int) -> tuple[int, int]:
        """How many tokens have ended within the span before `now`, and how many have failed.

        Changes nothing, and reads nothing in two steps: for any thread.
        """
        oldest = now // self._slice - SLICES
        recent = [each for each in list(self._slices) if each[0] > oldest]
        return sum(each[1] for each in recent), sum(each[2] for each in recent)

    def forget_all(self) -> None:
        """Drop all ends."""
        self._slices.clear()
        self.ended = self.failed = 0


class Breaker:
    """The breaker of an operation. Times are in ns of any monotonic clock.

    Args:
        name: The operation.
        settings: When it opens, and for how long.

    Attributes:
        state: Whether calls are taken.
        until: When the pause is over, given that the breaker is OPEN, ns.
        probes: The numbers of the tokens that are to complete before it closes, if HALF_OPEN.
    """

    __slots__ = ("_passed", "name", "probes", "settings", "state", "until", "window")

    def __init__(self, name: str, settings: CircuitBreaker) -> None:
        self.name = name
        self.settings = settings
        self.state = BreakerState.CLOSED
        self.window = Window(int(settings.window * _NS))
        self.until = 0
        self.probes: set[int] = set()
        self._passed = 0

    # ---- calls and resets, one at a time, in any thread

    def admits(self, number: int, now: int) -> bool:
        """Whether a call is taken at `now`; a probe is remembered by its token's number."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN and now >= self.until:
            self.probes = set()
            self._passed = 0
            self._step(Event.PAUSED)
        if self.state is not BreakerState.HALF_OPEN or not self.has_probe_left():
            return False
        self.probes.add(number)
        return True

    def has_probe_left(self) -> bool:
        """Whether another probe is to be let through, given that the breaker is HALF_OPEN."""
        return len(self.probes) + self._passed < self.settings.probes

    def close_again(self) -> bool:
        """Take calls, as if nothing had failed; False if the breaker was closed."""
        shut = self.state is not BreakerState.CLOSED
        self.window.forget_all()
        self._step(Event.RESET)
        self.probes.clear()
        return shut

    # ---- ends, in the engine's thread

    def token_completed(self, number: int, now: int) -> None:
        """Count a token whose function has returned."""
        if self.state is BreakerState.CLOSED:
            self.window.count_end(now, failed=False)
        elif self.state is BreakerState.HALF_OPEN and number in self.probes:
            self._passed += 1  # before its place is free
            self.probes.discard(number)
            if self._passed >= self.settings.probes:
                self.window.forget_all()
                self._step(Event.PROBES_COMPLETED)

    def token_failed(self, number: int, now: int) -> bool:
        """Count a failed token; True if the breaker opens."""
        if self.state is BreakerState.CLOSED:
            window, settings = self.window, self.settings
            window.count_end(now, failed=True)
            if window.ended < settings.minimum:
                return False
            if window.failed < settings.failure_share * window.ended:
                return False
            self._open(Event.TRIPPED, now)
            return True
        if self.state is BreakerState.HALF_OPEN and number in self.probes:
            self._open(Event.PROBE_FAILED, now)
            return True
        return False

    def token_withdrawn(self, number: int) -> None:
        """Count nothing for a token that ended unrun; the place of a probe is free again."""
        self.probes.discard(number)

    def _open(self, event: Event, now: int) -> None:
        self.until = now + int(self.settings.pause * _NS)
        self._step(event)
        self.probes.clear()

    def _step(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]

    # ---- views

    def view(self, now: int) -> BreakerView:
        """State and counts at `now`, ns; in any thread."""
        state = self.state
        ended, failed = self.window.counts_at(now)
        left = max(0, self.until - now) if state is BreakerState.OPEN else 0
        return BreakerView(state, ended, failed, left)

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        name, most = self.name, self.settings.probes
        assert 0 <= self.window.failed <= self.window.ended, f"{name}: counts"
        assert self.state is BreakerState.HALF_OPEN or not self.probes, f"{name}: probes"
        if self.state is BreakerState.HALF_OPEN:
            assert self._passed < most, f"{name} should have closed"
            assert len(self.probes) + self._passed <= most, f"{name}: too many probes"
