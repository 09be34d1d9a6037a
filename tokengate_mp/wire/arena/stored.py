"""What lies in the region of arguments already: a large object of many waiting calls is there once.

A call is a snapshot: its arguments arrive as they were when it was made. So bytes that are to be
stored are compared with those of blocks in use that look alike (their length, and a sample of some
hundred bytes), and only what is equal to the last byte is used again. To compare costs about as
much as to copy into pages that are there, and a small part of what fresh pages cost. Where the
bytes are those of a `bytes` object, which cannot change, that this was stored last is enough.

A pickle is most often not the same as the one before: the same large list may come with another
number beside it. So of pickles it is a common beginning and a common end that are used again.

Blocks are known here by weak references, and go when their last call has ended, as ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

LEAST: Final = 1 << 18
"""Shorter parts are not looked for, bytes."""

_SAMPLE: Final = 256
"""How many bytes of a part tell it from others, before all of them are looked at."""

_ALIKE: Final = 4
"""How many parts with one sample are known, and how many pickles: the latest of them."""

_PIECE: Final = 1 << 18
"""So many bytes are compared at a time: that many stay in the processor's cache."""

_PROBE: Final = 1 << 12
"""Where not so many bytes at its beginning, or at its end, are equal, a pickle is another one."""


class BlockReference(Protocol):
    """A weak reference to a block.

    Attributes:
        samples: By which samples its parts are known.
    """

    samples: list[tuple[int, bytes]]

    def __call__(self) -> Any:
        """Return the block; None if it is no more."""


class Span:
    """Bytes within a block.

    Args:
        block: The block, which stays for as long.
        start: Where in the block they begin.
        end: Where they end.
    """

    __slots__ = ("block", "end", "start")

    def __init__(self, block: Any, start: int, end: int) -> None:
        self.block = block
        self.start = start
        self.end = end

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return self.end - self.start


class _Known:
    """A part that was stored; the block is asked for when it is needed."""

    __slots__ = ("block", "end", "start")

    def __init__(self, block: BlockReference, start: int, end: int) -> None:
        self.block = block
        self.start = start
        self.end = end

    def span(self) -> Span | None:
        block = self.block()
        return None if block is None else Span(block, self.start, self.end)


class StoredParts:
    """The parts of blocks in use; asked and told from any thread.

    (Without a lock, since a block may be forgotten at any moment, in whatever thread: values of
    the dictionary are never changed. What two threads miss of each other is stored twice.)
    """

    __slots__ = ("_by_sample", "_last", "_pickles")

    def __init__(self) -> None:
        self._by_sample: dict[tuple[int, bytes], tuple[_Known, ...]] = {}
        self._pickles: tuple[_Known, ...] = ()
        self._last: tuple[bytes, _Known] | None = None

    def find(self, part: memoryview) -> Span | None:
        """Return where bytes lie already; None if they do not.

        Args:
            part: The bytes, flat.
        """
        if len(part) < LEAST:
            return None
        last = self._last
        if last is not None and last[0] is part.obj and len(last[0]) == len(part):
            return last[1].span()
        for known in self._by_sample.get(_sample(part), ()):
            span = known.span()
            if span is not None and _common(part, _bytes_of(span)) == len(part):
                return span
        return None

    def find_around(self, pickled: memoryview) -> tuple[Span, Span] | None:
        """Return where the beginning and the end of a pickle lie already.

        Args:
            pickled: The pickle.

        Returns:
            The two, of which one may be empty. None if they are less than half of the pickle.
        """
        if len(pickled) < LEAST:
            return None
        for known in self._pickles:
            span = known.span()
            if span is None:
                continue
            stored = _bytes_of(span)
            shorter = min(len(pickled), len(stored))
            head = _common(pickled[:shorter], stored[:shorter])
            tail = _common_end(pickled[head:], stored[head:])
            if 2 * (head + tail) >= len(pickled):
                return (
                    Span(span.block, span.start, span.start + head),
                    Span(span.block, span.end - tail, span.end),
                )
        return None

    def remember(
        self, block: BlockReference, starts: Iterable[int], parts: Iterable[memoryview]
    ) -> None:
        """Know the parts of a block that was just written.

        Args:
            block: The block.
            starts: Where in the block each part begins.
            parts: The bytes that were written.
        """
        for start, part in zip(starts, parts, strict=True):
            if len(part) < LEAST:
                continue
            known = _Known(block, start, start + len(part))
            sample = _sample(part)
            block.samples.append(sample)
            self._by_sample[sample] = _latest(known, self._by_sample.get(sample, ()))
            if type(part.obj) is bytes and len(part.obj) == len(part):
                self._last = part.obj, known

    def remember_pickle(self, block: BlockReference, start: int, length: int) -> None:
        """Know a pickle that was just written into a block."""
        if length >= LEAST:
            known = _Known(block, start, start + length)
            self._pickles = _latest(known, self._pickles)

    def forget(self, block: BlockReference) -> None:
        """Forget a block that is no more; at any moment, in any thread."""
        last = self._last
        if last is not None and last[1].block is block:
            self._last = None
        self._pickles = tuple([each for each in self._pickles if each.block is not block])
        for sample in block.samples:
            left = [each for each in self._by_sample.get(sample, ()) if each.block() is not None]
            if left:
                self._by_sample[sample] = tuple(left)
            else:
                self._by_sample.pop(sample, None)


def _latest(known: _Known, before: tuple[_Known, ...]) -> tuple[_Known, ...]:
    living = [each for each in before if each.block() is not None]
    return (known, *living[: _ALIKE - 1])


def _sample(part: memoryview) -> tuple[int, bytes]:
    # An odd step: an even one would meet the same byte of each number in an array.
    return len(part), part[:: (len(part) // _SAMPLE) | 1].tobytes()


def _bytes_of(span: Span) -> memoryview:
    offset = span.block.place.offset
    return memoryview(span.block.mapped)[offset + span.start : offset + span.end]


def _common(one: memoryview, other: memoryview) -> int:
    """How many bytes at the beginning of two parts of one length are equal."""
    length, at, step = len(one), 0, _PROBE
    while at < length:
        # (A memoryview compares item by item; what a bytearray is part of goes by memcmp.)
        if bytearray(one[at : at + step]) != other[at : at + step]:
            break
        at, step = at + step, _PIECE
    else:
        return length
    if at:
        at += _first_difference(one[at : at + step], other[at : at + step])
    return at


def _common_end(one: memoryview, other: memoryview) -> int:
    """How many bytes at the end of two parts are equal."""
    shorter = min(len(one), len(other))
    one, other = one[len(one) - shorter :], other[len(other) - shorter :]
    end, step = shorter, _PROBE
    while end > 0:
        start = max(0, end - step)
        if bytearray(one[start:end]) != other[start:end]:
            break
        end, step = start, _PIECE
    else:
        return shorter
    if end < shorter:
        end = start + _end_of_differences(one[start:end], other[start:end])
    return shorter - end


def _first_difference(one: memoryview, other: memoryview) -> int:
    low, high = 0, len(one)
    while high - low > 1:  # those before `low` are equal, and some before `high` is not
        middle = (low + high) // 2
        if bytearray(one[low:middle]) == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _end_of_differences(one: memoryview, other: memoryview) -> int:
    low, high = 0, len(one)
    while high - low > 1:  # from `high` on all are equal, and from `low` on some is not
        middle = (low + high) // 2
        if bytearray(one[middle:high]) == other[middle:high]:
            high = middle
        else:
            low = middle
    return high
