"""The ring against a model, over memory whose stores become visible when the test lets them."""

from __future__ import annotations

from collections import deque
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tokengate_mp.wire.channel.ring import RingReader, RingWriter

HEAD, TAIL = 0, 1
MODULUS = 2**32


class Stores:
    """Stores of one CPU that others cannot see yet, oldest first."""

    def __init__(self):
        self.waiting = []

    def arrive(self, at):
        """Let the store at that index become visible."""
        target, index, value = self.waiting.pop(at)
        target[index] = value


class Shared:
    """Memory as one process writes it and another reads it."""

    def __init__(self, stores, values):
        self._stores = stores
        self._visible = values

    def __len__(self):
        return len(self._visible)

    def __getitem__(self, index):
        return self._visible[index]

    def __setitem__(self, index, value):
        if isinstance(index, int):
            self._stores.waiting.append((self._visible, index, value))
        else:
            places = range(*index.indices(len(self)))
            assert len(places) == len(value)
            for place, byte in zip(places, value, strict=True):
                self._stores.waiting.append((self._visible, place, byte))


class RingMachine(RuleBasedStateMachine):
    """Writes, reads and arrivals of stores, in any order, against a queue of records.

    Two CPUs: stores of the writer (bytes and HEAD) and of the reader (TAIL) arrive at the other
    side one by one. `in_order` says whether in program order, as on x86-64, or in any order that
    keeps those to the same place, as on ARM64.
    """

    checked: bool
    in_order: bool

    @initialize(
        exponent=st.integers(4, 7),
        position=st.integers(0, 200) | st.integers(MODULUS - 200, MODULUS - 1),
        records=st.integers(0, 20) | st.integers(MODULUS - 20, MODULUS - 1),
    )
    def begin(self, exponent, position, records):
        self.size = 1 << exponent
        at = position | records << 32
        self.of_writer, self.of_reader = Stores(), Stores()
        self.data = Shared(self.of_writer, bytearray(self.size))
        heads, tails = [at], [at]
        # Each side sees its own stores at once, and never reads its own word back.
        seen_by_writer = _Words({HEAD: Shared(self.of_writer, heads), TAIL: tails})
        seen_by_reader = _Words({HEAD: heads, TAIL: Shared(self.of_reader, tails)})
        self.writer = RingWriter(self.data, seen_by_writer, HEAD, TAIL, checked=self.checked)
        self.reader = RingReader(self.data, seen_by_reader, HEAD, TAIL, checked=self.checked)
        self.model = deque()
        self.unread = 0
        self.crc = 0

    @rule(record_sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), fill=st.integers(0, 9))
    def write(self, record_sizes, fill):
        """A batch is taken exactly if, as far as the writer can know, there is room for it."""
        stream = b"".join(bytes([fill + i]) * size for i, size in enumerate(record_sizes))
        length = len(stream) + 5 * self.checked
        if length > self.size:
            return
        known_free = self.size - self.unread - self.read_and_not_known
        assert self.writer.append_records(stream, len(record_sizes)) == (length <= known_free)
        if length <= known_free:
            count = len(record_sizes)
            if self.checked:
                seal = b"\xce" + crc32(stream, self.crc).to_bytes(4, "big")
                stream += seal
                self.crc = crc32(stream, self.crc)
                count += 1
            self.model.append((count, stream))
            self.unread += len(stream)

    @property
    def read_and_not_known(self):
        """Bytes that were read, whose TAIL the writer has not seen."""
        waiting = self.of_reader.waiting
        if not waiting:
            return 0
        target, index, _ = waiting[0]
        return (waiting[-1][2] - target[index]) % MODULUS

    @rule()
    def read(self):
        """A read gives whole publishes, the oldest ones and each as it was written, or nothing."""
        pending = self.reader.pending()
        taken = self.reader.read()
        if taken is None:
            assert self.checked or not pending
            return
        assert pending
        count, stream = taken
        while count:
            expected_count, expected = self.model.popleft()
            count -= expected_count
            assert stream.startswith(expected)
            stream = stream[len(expected) :]
            self.unread -= len(expected)
        assert stream == b""

    @precondition(lambda self: self.of_writer.waiting)
    @rule(data=st.data(), many=st.booleans())
    def bytes_arrive(self, data, many):
        """Some of the writer's stores become visible to the reader."""
        for _ in range(data.draw(st.integers(1, len(self.of_writer.waiting))) if many else 1):
            self._one_arrives(self.of_writer, data)

    @precondition(lambda self: self.of_reader.waiting)
    @rule()
    def tail_arrives(self):
        """One of the reader's stores becomes visible to the writer."""
        self.of_reader.arrive(0)

    def _one_arrives(self, stores, data):
        if self.in_order:
            stores.arrive(0)
            return
        at = data.draw(st.integers(0, len(stores.waiting) - 1))
        target, index, _ = stores.waiting[at]
        # To one place, stores arrive in order on every CPU.
        first = next(i for i, (t, j, _) in enumerate(stores.waiting) if t is target and j == index)
        stores.arrive(first)

    @rule()
    def all_arrives(self):
        """When everything is visible, a read gives everything."""
        for stores in (self.of_writer, self.of_reader):
            while stores.waiting:
                stores.arrive(0)
        self.read()
        assert not self.model
        assert self.unread == 0

    @invariant()
    def nothing_is_overwritten_unread(self):
        """What is written and not read never exceeds the ring."""
        assert 0 <= getattr(self, "unread", 0) <= getattr(self, "size", 0)


class _Words:
    def __init__(self, by_index):
        self._by_index = by_index

    def __getitem__(self, index):
        return self._by_index[index][0]

    def __setitem__(self, index, value):
        self._by_index[index][0] = value


@pytest.mark.parametrize(
    ("checked", "in_order"),
    [
        pytest.param(False, True, id="unchecked on a CPU that keeps stores in order"),
        pytest.param(True, True, id="checked on a CPU that keeps stores in order"),
        pytest.param(True, False, id="checked on a CPU that does not"),
    ],
)
def test_ring_is_a_queue(checked, in_order):
    """Whatever is written is read, whole, once and in order, however late stores become visible."""
    machine = type("Machine", (RingMachine,), {"checked": checked, "in_order": in_order})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_model_would_notice_an_unchecked_ring_where_stores_are_reordered(data):
    """The memory of this test does hide bytes behind a HEAD that is visible."""
    stores = Stores()
    ring, heads, tails = Shared(stores, bytearray(16)), [0], [0]
    words = _Words({HEAD: Shared(stores, heads), TAIL: tails})
    writer = RingWriter(ring, words, HEAD, TAIL, checked=False)
    reader = RingReader(ring, _Words({HEAD: heads, TAIL: tails}), HEAD, TAIL, checked=False)
    record = bytes(data.draw(st.lists(st.integers(1, 255), min_size=1, max_size=16)))
    writer.append_records(record, 1)
    stores.arrive(len(stores.waiting) - 1)
    assert reader.read() == (1, bytes(len(record)))
