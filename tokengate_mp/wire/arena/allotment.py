"""Which parts of a stretch of memory are taken: the arithmetic, and nothing else.

First fit, from the low end. So what is taken stays together there, in pages that were used before:
a page that is touched for the first time costs several times what copying into it does.
"""

from __future__ import annotations

from bisect import bisect_left
from mmap import PAGESIZE
from typing import Final

GRAIN: Final = PAGESIZE
"""Blocks begin at multiples of this, and take multiples of it, bytes: whole pages."""


class Allotment:
    """The taken and the free parts of `limit` bytes.

    Args:
        limit: How many bytes there are; rounded down to whole grains.

    Attributes:
        limit: How many bytes there are.
        used: How many bytes are taken.
    """

    __slots__ = ("_free", "_taken", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit // GRAIN * GRAIN
        self.used = 0
        self._free: list[tuple[int, int]] = [(0, self.limit)] if self.limit else []
        self._taken: dict[int, int] = {}

    def allot(self, size: int) -> int | None:
        """Take bytes; return the offset of the first, or None if no free stretch is long enough.

        Args:
            size: How many bytes, at least 1.
        """
        size = -(-size // GRAIN) * GRAIN
        for at, (start, end) in enumerate(self._free):
            if end - start >= size:
                if end - start == size:
                    del self._free[at]
                else:
                    self._free[at] = start + size, end
                self._taken[start] = size
                self.used += size
                return start
        return None

    def free_block(self, start: int) -> None:
        """Free the bytes that begin at an offset.

        Raises:
            KeyError: Nothing was taken that begins there.
        """
        size = self._taken.pop(start)
        self.used -= size
        end = start + size
        free = self._free
        at = bisect_left(free, (start, end))
        if at < len(free) and free[at][0] == end:
            end = free.pop(at)[1]
        if at and free[at - 1][1] == start:
            at -= 1
            start = free.pop(at)[0]
        free.insert(at, (start, end))

    def validate(self) -> None:
        """Check that every grain is either free or taken, and that free stretches are joined.

        Raises:
            AssertionError: A grain is neither, or both; or two free stretches touch.
        """
        pieces = [(start, start + size, True) for start, size in self._taken.items()]
        pieces += [(start, end, False) for start, end in self._free]
        at, was_taken = 0, True
        for start, end, taken in sorted(pieces):
            assert start == at < end, f"a gap or an overlap at {at}"
            assert taken or was_taken, f"two free stretches touch at {at}"
            at, was_taken = end, taken
        assert at == self.limit, f"nothing is known beyond {at}"
        assert self.used == sum(self._taken.values()), "what is used is miscounted"
