"""The pages of a region, for the process that writes there: how bytes get into them.

A page that was never used costs several times what copying into it does: it is allocated, cleared,
and mapped by a fault of its own. The kernel need do only the first of these for what is written
to the *file* that the region is of. (25 MB on Linux 6.18: 9 ms, and 18 ms by way of the mapping.)
What lies in the pages is the same either way, as is what a lack of memory comes to: an error before
anything depends on them, and never a SIGBUS.

Pages that have been used are mapped when they are needed again, all of them at once, and copied
into from then on, which is faster still (5.5 ms).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from tokengate_mp.wire.arena.allotment import GRAIN

_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE of Linux 5.14, which allocates and maps pages in one go. (Not in `mmap`.)"""

_LINUX: Final = hasattr(mmap, "MADV_REMOVE")
"""Elsewhere shared memory is no file that could be written to, and keeps the pages it has."""


class Pages:
    """The pages of a region, from its beginning to the farthest byte that was written.

    Args:
        fd: The file that the region is a part of.
        base: Where in the file it begins.

    Attributes:
        reached: Up to here pages were used.
    """

    __slots__ = ("_base", "_fd", "_mapped", "reached")

    def __init__(self, fd: int, base: int) -> None:
        self._fd = fd
        self._base = base
        self._mapped = 0  # up to here they are there, and this process has them mapped
        self.reached = 0

    def prepare(self, region: mmap.mmap, offset: int, size: int) -> int | None:
        """Provide pages for a block that is about to be written. One thread at a time.

        Args:
            region: The region.
            offset: Where in the region the block is to begin.
            size: How long it will be, bytes.

        Returns:
            None, if its pages are there. Else the file that it is to be written to, `close` of
            which is the caller's affair: its own descriptor, as another thread may close the arena.

        Raises:
            OSError: There are no more pages; or no more descriptors.
        """
        end = -(-(offset + size) // GRAIN) * GRAIN
        if end <= self._mapped:
            return None
        if _LINUX and end > self.reached:
            fd = os.dup(self._fd)
            self.reached = end
            return fd
        self._allocate(region, end)
        self._mapped, self.reached = end, max(end, self.reached)
        return None

    def _allocate(self, region: mmap.mmap, end: int) -> None:
        """Allocate and map pages up to `end`; a lack of memory is an error here."""
        start, length = self._mapped, end - self._mapped
        if _LINUX:
            try:
                region.madvise(_POPULATE_WRITE, start, length)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            else:
                return
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, self._base + start, length)

    def write_to_file(
        self, fd: int, offset: int, starts: Iterable[int], parts: Iterable[memoryview]
    ) -> None:
        """Write bytes to the file.

        Args:
            fd: The file.
            offset: Where in the region the block begins.
            starts: Where in the block each part begins.
            parts: Flat bytes.

        Raises:
            OSError: There are no more pages.
        """
        for start, part in zip(starts, parts, strict=True):
            at, done = self._base + offset + start, 0
            while done < len(part):  # no more than 2 GiB are taken at a time
                done += os.pwrite(fd, part[done:], at + done)

    def give_up(self, region: mmap.mmap, keep: int) -> None:
        """Give all pages from the offset `keep` on back to the system."""
        discard(region, keep, self.reached)
        self.reached = min(self.reached, keep)
        self._mapped = min(self._mapped, keep)


def discard(mapped: mmap.mmap, start: int, end: int) -> None:
    """Give the pages between two multiples of `GRAIN` back to the system, where possible."""
    if end > start and _LINUX:
        with suppress(OSError, ValueError):
            mapped.madvise(mmap.MADV_REMOVE, start, end - start)
