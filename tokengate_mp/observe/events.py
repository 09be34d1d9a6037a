"""Life events of an engine: a bounded ring that is written in turns, and pulled by observers.

The engine records a tuple for each portion of outcomes that it has settled, and for each thing that
happens to a core, a breaker or the whole. Nothing is recorded for a single token: what a tuple
costs is shared by a portion. Nobody is called, so no observer can hold up or break a turn. Whoever
reads keeps a *cursor*, the number of events before the next one, and learns how many events were
overwritten before they could be read.

One thread at a time writes: that of the engine's event loop. Any thread may read, at any moment,
also while that loop is blocked:

    write   store the tuple in its slot, then count it
    read    look at the count, copy all slots by one call of C code, look at the count again

An event counts only once it is in its slot, so the first look says up to where slots can be read.
The writer may have gone on until the second look: as many of the oldest slots hold newer events by
then, and one more may do so already. Those are missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

EVENTS: Final = 4096
"""How many events are kept: some 0.6 MB when all are there."""

Event = tuple[Any, ...]
"""A kind of event, when it happened (monotonic ns), and the fields of its kind."""

OPENED: Final = "opened"
CLOSED: Final = "closed"
PORTION: Final = "portion"
LAUNCHED: Final = "launched"
TOOK_OVER: Final = "took_over"
EXITED: Final = "exited"
GIVEN_UP: Final = "given_up"
IRREPLACEABLE: Final = "irreplaceable"
DRAINING: Final = "draining"
SUSPECT: Final = "suspect"
RECOVERED: Final = "recovered"
BREAKER_OPENED: Final = "breaker_opened"
BREAKER_CLOSED: Final = "breaker_closed"
PAUSED: Final = "paused"
RESUMED: Final = "resumed"
KILLED: Final = "killed"
DRAINED: Final = "drained"
RESET: Final = "reset"
PRESSURE_BEGAN: Final = "pressure_began"
PRESSURE_ENDED: Final = "pressure_ended"

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    # The engine: it takes calls, and takes none any more.
    OPENED: (),
    CLOSED: (),
    # Outcomes of a core were settled: how many, how many of them had failed, and how many tokens
    # the core gave back unbegun or dropped because they had been ended.
    PORTION: ("core", "outcomes", "failed", "given_back", "dropped"),
    # A process of a core: it was started, has the core's tokens, and has ended (`because`: why it
    # was ended, if that was done on purpose; `made_progress`: whether it had answered for a token).
    LAUNCHED: ("core", "pid"),
    TOOK_OVER: ("core", "pid"),
    EXITED: ("core", "pid", "exitcode", "because", "made_progress"),
    # A core: no more processes are started for it, or none that would take over.
    GIVEN_UP: ("core", "reason"),
    IRREPLACEABLE: ("core",),
    # A link: it is about to go, is not heard, is heard again.
    DRAINING: ("core",),
    SUSPECT: ("core",),
    RECOVERED: ("core",),
    # The breaker of an operation.
    BREAKER_OPENED: ("operation",),
    BREAKER_CLOSED: ("operation",),
    # Orders by way of the control port; `operation` is None where an order was about all of them.
    PAUSED: ("operation",),
    RESUMED: ("operation",),
    KILLED: ("operation", "token_id", "count", "reason"),
    DRAINED: ("operation", "count", "reason"),
    RESET: ("operation", "was_shut"),
    # Backpressure: calls were refused or had to wait, and there is room again.
    PRESSURE_BEGAN: ("pending",),
    PRESSURE_ENDED: ("pending",),
}
"""The fields of each kind of event, after its kind and time."""


class Reading(NamedTuple):
    """The result of reading a ring.

    Attributes:
        events: The events since the cursor that are still there, oldest first.
        missed: How many events since the cursor were overwritten.
        cursor: Where to read on.
    """

    events: list[Event]
    missed: int
    cursor: int


class EventRing:
    """The latest events of an engine.

    Args:
        size: How many events are kept at least.
    """

    __slots__ = ("_slots", "_written")

    def __init__(self, size: int = EVENTS) -> None:
        # One more than promised: the slot that is written next cannot be relied on.
        self._slots: list[Event] = [()] * (size + 1)
        self._written = 0

    @property
    def written(self) -> int:
        """The number of events recorded so far: the cursor of a reader that begins now."""
        return self._written

    def record(self, event: Event) -> None:
        """Keep an event, in the place of the oldest; in the writer's thread."""
        slots, written = self._slots, self._written
        slots[written % len(slots)] = event
        self._written = written + 1

    def read_since(self, cursor: int) -> Reading:
        """Read the events from a cursor on; in any thread, and without waiting.

        Args:
            cursor: That of the last reading; 0 for everything that is there.
        """
        end = self._written
        if cursor >= end:
            return Reading([], 0, cursor)
        slots = self._slots[:]
        size = len(slots)
        first = max(cursor, self._written + 1 - size)
        events = [slots[number % size] for number in range(first, end)]
        return Reading(events, first - cursor, max(first, end))


def named(event: Event) -> dict[str, Any]:
    """An event as a dict: its `kind`, `time` and the fields of its kind, by name."""
    kind, time, *facts = event
    return {"kind": kind, "time": time, **dict(zip(FIELDS[kind], facts, strict=True))}
