"""The circuit breaker of an operation: whether it takes calls.

It is CLOSED as long as its tokens do not fail too often, counted over a window of time. When they
do it is OPEN, and calls are refused, until its pause is over: then it is HALF_OPEN, and lets a few
calls through, its *probes*. Once all of these have completed it is CLOSED again; with the first
that fails, OPEN. Whatever was sent before it opened and ends later says nothing.

Nobody watches the clock: that its pause is over is noticed by the next call. And calls may be made
in any thread, while everything else happens in the coordinator's: so the only step that a call
takes is that from OPEN to HALF_OPEN, which is taken nowhere else. (Calls take turns, and with them
resets, which alone lead away from OPEN as well.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from tokengate_mp.config.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:
    from tokengate_mp.scheduling.model.ticket import Ticket

SLICES: Final = 16
"""Into how many slices a window is divided: what is a slice older than it counts no more."""

_NS: Final = 1_000_000_000


class BreakerState(Enum):
    """Whether calls are taken."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(Enum):
    """What changes that."""

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
"""From a state, with an event, to the next state. There are no others."""


@dataclass(frozen=True, slots=True)
class BreakerView:
    """A breaker at one moment.

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
    """How many tokens have ended, and failed, of late.

    Args:
        span: How long that is, ns.

    Attributes:
        ended: So many.
        failed: So many of them.
    """

    __slots__ = ("_slice", "_slices", "ended", "failed")

    def __init__(self, span: int) -> None:
        self._slice = max(1, span // SLICES)
        self._slices: deque[list[int]] = deque()  # each: which it is, ended, failed
        self.ended = 0
        self.failed = 0

    def add(self, now: int, *, failed: bool) -> None:
        """One more has ended."""
        self.slide(now)
        slices, current = self._slices, now // self._slice
        if not slices or slices[-1][0] != current:
            slices.append([current, 0, 0])
        slices[-1][1] += 1
        slices[-1][2] += failed
        self.ended += 1
        self.failed += failed

    def slide(self, now: int) -> None:
        """Let go of what ended too long ago."""
        oldest = now // self._slice - SLICES
        while self._slices and self._slices[0][0] <= oldest:
            _, ended, failed = self._slices.popleft()
            self.ended -= ended
            self.failed -= failed

    def clear(self) -> None:
        """Let go of everything."""
        self._slices.clear()
        self.ended = self.failed = 0


class Breaker:
    """The breaker of one operation. Times are in ns of any one monotonic clock.

    Args:
        name: The operation.
        settings: When it opens, and for how long.

    Attributes:
        state: Whether calls are taken.
        until: When its pause is over, if it is OPEN.
        probes: The numbers of the tokens whose ends it waits for, if it is HALF_OPEN.
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

    # ---- calls and resets, one at a time

    def admits(self, number: int, now: int) -> bool:
        """Whether a call is taken; if it is one of the probes, that is noted by its number."""
        if self.state is BreakerState.CLOSED:
            return True
        if self.state is BreakerState.OPEN and now >= self.until:
            self.probes = set()
            self._passed = 0
            self._step(Event.PAUSED)
        if self.state is not BreakerState.HALF_OPEN or not self.has_place():
            return False
        self.probes.add(number)
        return True

    def has_place(self) -> bool:
        """Whether one more probe is to be let through, if it is HALF_OPEN."""
        return len(self.probes) + self._passed < self.settings.probes

    def reset(self) -> bool:
        """Take calls again; False if it did."""
        shut = self.state is not BreakerState.CLOSED
        self.window.clear()
        self._step(Event.RESET)
        self.probes.clear()
        return shut

    # ---- ends, in the coordinator's thread

    def completed(self, number: int, now: int) -> None:
        """A token's function has returned."""
        if self.state is BreakerState.CLOSED:
            self.window.add(now, failed=False)
        elif self.state is BreakerState.HALF_OPEN and number in self.probes:
            self._passed += 1  # before its place is free
            self.probes.discard(number)
            if self._passed >= self.settings.probes:
                self.window.clear()
                self._step(Event.PROBES_COMPLETED)

    def failed(self, number: int, now: int) -> bool:
        """A token has failed; whether the breaker opens with this."""
        if self.state is BreakerState.CLOSED:
            window, settings = self.window, self.settings
            window.add(now, failed=True)
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

    def left(self, number: int) -> None:
        """A token has ended and says nothing: if it was a probe, another call may be one."""
        self.probes.discard(number)

    def _open(self, event: Event, now: int) -> None:
        self.until = now + int(self.settings.pause * _NS)
        self._step(event)
        self.probes.clear()

    def _step(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]

    # ---- views

    def view(self, now: int) -> BreakerView:
        """What there is to be seen of it."""
        self.window.slide(now)
        left = max(0, self.until - now) if self.state is BreakerState.OPEN else 0
        return BreakerView(self.state, self.window.ended, self.window.failed, left)

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            AssertionError: It does not.
        """
        name, most = self.name, self.settings.probes
        assert 0 <= self.window.failed <= self.window.ended, f"{name}: counts"
        assert self.state is BreakerState.HALF_OPEN or not self.probes, f"{name}: probes"
        if self.state is BreakerState.HALF_OPEN:
            assert self._passed < most, f"{name} should have closed"
            assert len(self.probes) + self._passed <= most, f"{name}: too many probes"


class Breakers:
    """The breakers of all operations that have one.

    Attributes:
        by_name: They, by the operations' names.
        opened: Those whose waiting tokens are to be ended.
    """

    __slots__ = ("_declared", "by_name", "opened")

    def __init__(self) -> None:
        self.by_name: dict[str, Breaker] = {}
        self.opened: list[Breaker] = []
        self._declared: dict[str, CircuitBreaker | None] = {}

    def declare(self, name: str, settings: CircuitBreaker | None) -> Breaker | None:
        """A function says which breaker its operation has; None: it has none.

        Raises:
            ValueError: Another function of that operation says something else.
        """
        before = self._declared.setdefault(name, settings)
        if before != settings:
            raise ValueError(
                f"{name!r} has breaker={settings} here, and breaker={before} where it was called "
                "before: one operation has one breaker. Say the same for all functions of this "
                "operation_type, or give them one each."
            )
        if settings is None:
            return None
        return self.by_name.setdefault(name, Breaker(name, settings))

    def is_declared(self, name: str) -> bool:
        """Whether any function of an operation was called."""
        return name in self._declared

    def declared(self, name: str) -> CircuitBreaker | None:
        """What the first of them said."""
        return self._declared[name]

    def completed(self, tickets: Iterable[Ticket], now: int) -> None:
        """The functions of these tokens have returned."""
        for ticket in tickets:
            breaker = ticket.operation.breaker
            if breaker is not None:
                breaker.completed(ticket.number, now)

    def failed(self, tickets: Iterable[Ticket], now: int | None) -> None:
        """These tokens have failed, at that time; None: without having been run."""
        for ticket in tickets:
            breaker = ticket.operation.breaker
            if breaker is None:
                continue
            if now is None:
                breaker.left(ticket.number)
            elif breaker.failed(ticket.number, now):
                self.opened.append(breaker)
