"""The ring of events against a list: what a reader gets, and how much of it it missed."""

from __future__ import annotations

import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tokengate_mp.observe import events
from tokengate_mp.observe.events import FIELDS, EventRing, named

READERS = 3


class RingMachine(RuleBasedStateMachine):
    """A ring, everything that was ever recorded, and several readers that lag behind."""

    @initialize(size=st.integers(1, 8))
    def make(self, size):
        self.size = size
        self.ring = EventRing(size)
        self.recorded = []
        self.cursors = [0] * READERS

    @rule(count=st.integers(1, 20))
    def record(self, count):
        for _ in range(count):
            event = ("kind", len(self.recorded))
            self.ring.record(event)
            self.recorded.append(event)

    @rule(reader=st.integers(0, READERS - 1))
    def read(self, reader):
        cursor = self.cursors[reader]
        reading = self.ring.read_since(cursor)
        first = max(cursor, len(self.recorded) - self.size)
        assert reading.events == self.recorded[first:]
        assert reading.missed == max(0, first - cursor)
        assert reading.cursor == len(self.recorded)
        self.cursors[reader] = reading.cursor

    @rule(reader=st.integers(0, READERS - 1))
    def begin_now(self, reader):
        self.cursors[reader] = self.ring.written

    @invariant()
    def everything_is_counted(self):
        if hasattr(self, "ring"):
            assert self.ring.written == len(self.recorded)


TestRing = RingMachine.TestCase
TestRing.__doc__ = (
    "A reader gets what was recorded since its last reading, in order, as far as that is among the "
    "latest; the rest is counted as missed; readers do not disturb each other."
)
TestRing.settings = settings(max_examples=100, stateful_step_count=30)


def test_a_writer_in_another_thread_is_read_without_a_gap():
    """Each event is read once and in order, or counted as missed, while the writer goes on."""
    ring, count, size = EventRing(64), 100_000, 64
    writer = threading.Thread(target=lambda: [ring.record(("n", n)) for n in range(count)])
    cursors, seen = [0, 0], [[], []]
    missed = [0, 0]
    writer.start()
    while min(cursors) < count:
        for reader in (0, 1):
            reading = ring.read_since(cursors[reader])
            numbers = [number for _, number in reading.events]
            expected = range(cursors[reader] + reading.missed, reading.cursor)
            assert numbers == list(expected)
            assert len(numbers) <= size
            cursors[reader] = reading.cursor
            missed[reader] += reading.missed
            seen[reader] += numbers
    writer.join()
    for reader in (0, 1):
        assert len(seen[reader]) + missed[reader] == count
        assert seen[reader] == sorted(set(seen[reader]))


def test_a_cursor_ahead_of_all_events_gets_nothing():
    """And stays where it is."""
    ring = EventRing(4)
    ring.record(("n", 0))
    assert ring.read_since(7) == ([], 0, 7)


def test_every_kind_has_named_fields():
    """An event can be told by name; the kinds are those that the module defines."""
    kinds = {
        value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)
    }
    assert kinds == FIELDS.keys()
    assert named((events.LAUNCHED, 5, 1, 4711)) == {
        "kind": "launched",
        "time": 5,
        "core": 1,
        "pid": 4711,
    }
