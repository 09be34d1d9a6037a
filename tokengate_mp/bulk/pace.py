"""Sizes of batches, from measured durations.

A batch is to keep a core busy for some milliseconds: long beside what a token costs, and short
beside what a wrong guess would cost. The first one of a function that was never measured has one
item. Pure: durations come in as arguments.
"""

from __future__ import annotations

from typing import Final

TARGET_NS: Final = 20_000_000
"""How long a batch is meant to take, ns."""

SHORTEST_NS: Final = 400_000
"""A batch is not made shorter than this for the sake of an even end, ns."""

OVERDUE_NS: Final = 2 * TARGET_NS
"""A batch that has run for so long, ns, is cut."""

TARGET_BYTES: Final = 1 << 18
"""How large a batch's request may be: a piece of the ring that leaves room for others."""

MOST_ITEMS: Final = 1 << 15
"""However short they are."""

GROWTH: Final = 256
"""How many times as large as the one before a batch may be: a first duration may mislead."""


class Pace:
    """Durations and sizes of a function's calls, measured, and the size of its next batch.

    Args:
        fixed: The number of items of every batch; None to measure.
    """

    __slots__ = ("_bytes", "_fixed", "_item_ns", "_largest")

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._item_ns = 0.0
        self._bytes = 0.0
        self._largest = 1

    @property
    def most_ns(self) -> int | None:
        """The time after which a batch is cut, ns; None for never."""
        return OVERDUE_NS if self._fixed is None else None

    def size(self, left: int | None, cores: int) -> int:
        """The number of items that the next batch should have.

        Args:
            left: How many items there are still; None if that is not known.
            cores: How many cores there are.
        """
        if self._fixed is not None:
            return self._fixed
        if not self._item_ns:
            return 1
        most = min(TARGET_NS / self._item_ns, self._largest * GROWTH, MOST_ITEMS)
        if self._bytes:
            most = min(most, TARGET_BYTES / self._bytes)
        if left is not None:
            # Towards the end they get smaller, so that all cores come to it at the same time.
            most = min(most, max(left / (2 * cores), SHORTEST_NS / self._item_ns))
        return max(1, int(most))

    def duration(self, items: int) -> int | None:
        """The time that the calls of a batch will take, ns; None if none was measured.

        Args:
            items: How many.
        """
        return int(items * self._item_ns) if self._item_ns else None

    def sent(self, items: int, nanoseconds: int, size: int) -> None:
        """Take note of a batch that was encoded.

        Args:
            items: The number of its items.
            nanoseconds: How long encoding took, ns.
            size: The size of its request, bytes.
        """
        self._bytes = size / items
        # What takes the parent longer to send than a core to do is limited by that.
        self._item_ns = max(self._item_ns, nanoseconds / items) if self._item_ns else 0.0

    def observe(self, items: int, nanoseconds: int) -> None:
        """Take note of calls of a batch that were made.

        Args:
            items: The number of calls.
            nanoseconds: How long all calls took, ns.
        """
        own = max(1.0, nanoseconds / items)
        if self._item_ns:
            # The larger batch knows better; none is forgotten at once, as durations differ.
            weight = max(0.25, min(0.9, items / self._largest / 2))
            own = self._item_ns + (own - self._item_ns) * weight
        self._item_ns = own
        self._largest = max(self._largest, items)
