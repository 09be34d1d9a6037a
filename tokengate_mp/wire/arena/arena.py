"""The arena: shared memory beside the rings, for what is too large to go through them.

    | region 0: arguments and shared values, written by the parent | region 1: results … | …

One arena belongs to an engine and all its core processes: a file without a name (see `segment`),
inherited by each of them, and so large that each process has a region of its own to write in. It is
mostly a promise: pages are allocated when a region first reaches them, in such a way that a lack of
memory is an answer and never a SIGBUS (see `pages`). Everybody may read everywhere, where a record
says that there is something. So a value lies in one place, however many processes look at it.

What one payload occupies is a *block*. Only the process that writes a region knows what is free in
it. In the parent a `Block` stands for each, of whatever region: as long as something refers to it,
a token that may have to be sent again, a view of a result, a core process that borrows it, its
bytes stay. The last reference gone, it is *released*: to the allotment of region 0 at once, to
another region by a record to the process that writes there.

In a core process a `Block` stands for something that arrived and is read. Its token's record keeps
the bytes until the token's outcome is out. A block that is still read then is *borrowed*, which is
announced to the parent before the outcome is out, and once more when it is released.

Order of memory operations (see `ordering`): bytes are written, then a fence, then the record that
tells of them; they are looked at after a fence behind the reading of that record.
"""

from __future__ import annotations

import errno
import mmap
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Final
from weakref import WeakValueDictionary, ref

import msgspec

from tokengate_mp.errors import PayloadError
from tokengate_mp.locks import new_lock
from tokengate_mp.wire.arena.allotment import Allotment
from tokengate_mp.wire.arena.pages import Pages
from tokengate_mp.wire.arena.place import Place
from tokengate_mp.wire.arena.stored import StoredParts
from tokengate_mp.wire.channel.ordering import full_fence

KEPT_WARM: Final = 1 << 28
"""So many bytes of a region stay allocated when nothing in it is taken; the rest is given back."""

_ALIGN: Final = 64
"""What is put into a block begins at multiples of this, bytes: a cache line."""


class ArenaAddress(msgspec.Struct, frozen=True):
    """An arena, for a process that inherits its descriptor.

    Attributes:
        fd: The descriptor.
        key: What tells it from other arenas.
        region_bytes: Size of each of its regions.
        regions: How many there are room for.
        region: The one that this process writes. One that comes after another in the same place
            has a number that is higher by `regions`.
        limit: How many bytes of that may be used.
    """

    fd: int
    key: int
    region_bytes: int
    regions: int
    region: int
    limit: int


class Block:
    """Something in an arena that is in use.

    Attributes:
        place: Where it is.
        mapped: The region that it is in.
    """

    __slots__ = ("__weakref__", "_arena", "mapped", "place")

    def __init__(self, arena: Arena, place: Place) -> None:
        self.mapped = arena.region(place.region)
        self._arena = arena
        self.place = place

    def view(self) -> memoryview:
        """Return a read-only view of the bytes, which keeps the block, as do views of that view."""
        _arena, _region, offset, size = self.place
        import ctypes  # noqa: PLC0415 - some ms that most core processes need not pay

        # memoryviews of a map would only keep the map. Those of an object that lies in it keep
        # that, and it keeps the block.
        held = (ctypes.c_char * size).from_buffer(self.mapped, offset)
        held.block = self  # type: ignore[attr-defined]
        full_fence()
        return memoryview(held).toreadonly().cast("B")


class Arena(ABC):
    """An arena, seen from one of its processes.

    Args:
        address: The arena, and the region that this process writes.

    Attributes:
        key: What tells it from other arenas.
        released: Blocks that are not in use any more, as region and offset, to be dealt with by the
            next thread that looks.
        stored: Parts of the own region that can be used again; None where that is never so.
    """

    stored: StoredParts | None = None

    def __init__(self, address: ArenaAddress) -> None:
        self.key = address.key
        self.released: deque[tuple[int, int]] = deque()
        self._address = address
        self._maps: dict[int, mmap.mmap] = {}
        self._allotment = Allotment(address.limit)
        self._pages = Pages(address.fd, address.region % address.regions * address.region_bytes)
        self._lock = new_lock()
        self._closed = False
        _arenas[self.key] = self

    # ---- writing, in the region of this process

    def put(self, parts: list[memoryview]) -> tuple[Place, list[int]] | None:
        """Write bytes into a new block.

        Args:
            parts: What to write, one after the other; flat bytes.

        Returns:
            Where that is, and where in the block each part begins; None if there is no room.
        """
        starts, size = [], 0
        for part in parts:
            starts.append(size)
            size += -(-len(part) // _ALIGN) * _ALIGN
        own = self._address.region
        try:
            mapped = self.region(own)
            with self._lock:
                offset = None if self._closed else self._allotment.allot(size)
            if offset is None:
                return None
            try:
                self._write_block(mapped, offset, size, starts, parts)
            except BaseException:
                self.take_back((offset,))
                raise
        except (OSError, ValueError):
            return None
        full_fence()
        return Place(self.key, own, offset, size), starts

    def put_block(
        self, parts: list[memoryview], *, pickle_first: bool = False
    ) -> tuple[Place, list[int], Block | None] | None:
        """Write bytes into a new block that is in use from then on.

        Args:
            parts: What to write, one after the other; flat bytes.
            pickle_first: Whether the first part is a pickle.

        Returns:
            Where that is, where in the block each part begins, and the block, if that is for this
            process to keep; None if there is no room.
        """
        del pickle_first  # of use to the parent, who knows what is stored
        put = self.put(parts)
        if put is None:
            return None
        place, starts = put
        try:
            return place, starts, self.claim_block(place)
        except (OSError, ValueError):  # another thread has closed it meanwhile
            return None

    def _write_block(
        self,
        mapped: mmap.mmap,
        offset: int,
        size: int,
        starts: list[int],
        parts: list[memoryview],
    ) -> None:
        """Write the parts of a block.

        Raises:
            OSError: There are no more pages, or the arena was closed.
        """
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the arena is closed")
            file = self._pages.prepare(mapped, offset, size)
        if file is None:
            with memoryview(mapped) as whole, whole[offset : offset + size] as block:
                for start, part in zip(starts, parts, strict=True):
                    block[start : start + len(part)] = part
        else:
            try:
                self._pages.write_to_file(file, offset, starts, parts)
            finally:
                os.close(file)

    def take_back(self, offsets: Iterable[int]) -> None:
        """Free blocks of the region that the process writes.

        Args:
            offsets: Where in the region they begin.
        """
        with self._lock:
            if self._closed:
                return
            for offset in offsets:
                self._allotment.free_block(offset)
            if not self._allotment.used and self._pages.reached > KEPT_WARM:
                self._pages.give_up(self.region(self._address.region), KEPT_WARM)

    @property
    def used(self) -> int:
        """How many bytes are taken of the region that the process writes."""
        return self._allotment.used

    # ---- reading

    def region(self, number: int) -> mmap.mmap:
        """Return a region, mapping the first time.

        Raises:
            OSError: It cannot be mapped.
            ValueError: Likewise.
        """
        address = self._address
        at = number % address.regions
        with self._lock:
            mapped = self._maps.get(at)
            if mapped is None:
                if self._closed:
                    raise OSError(errno.EBADF, "the arena is closed")
                size = address.region_bytes
                mapped = self._maps[at] = mmap.mmap(address.fd, size, offset=at * size)
            return mapped

    @abstractmethod
    def claim_block(self, place: Place) -> Block | None:
        """Return a block for bytes just written; None where that is for the parent to keep."""

    @abstractmethod
    def block_at(self, place: Place) -> Block:
        """Return the block at a place, for reading.

        Raises:
            PayloadError: It was released.
        """


class CoreBlock(Block):
    """A block in a core process.

    Attributes:
        announced: Whether the parent knows that it is in use.
    """

    __slots__ = ("announced",)

    _arena: CoreArena

    def __init__(self, arena: CoreArena, place: Place) -> None:
        super().__init__(arena, place)
        self.announced = False

    def __del__(self) -> None:
        # It may run at any moment, in whatever thread: no lock is taken here.
        arena = getattr(self, "_arena", None)
        if arena is not None:  # else its region could not be mapped
            arena.unreferenced(self)


class CoreArena(Arena):
    """The arena in a core process.

    Attributes:
        unannounced: Blocks that are in use, and the parent may not know that, by their ids.
    """

    def __init__(self, address: ArenaAddress) -> None:
        super().__init__(address)
        self.unannounced: dict[int, ref[CoreBlock]] = {}

    def claim_block(self, place: Place) -> None:
        """Return None: the block of a result is for the parent to keep."""

    def block_at(self, place: Place) -> CoreBlock:
        """Return a new block, which is unannounced for now."""
        block = CoreBlock(self, place)
        self.unannounced[id(block)] = ref(block)
        return block

    def unreferenced(self, block: CoreBlock) -> None:
        """Queue RELEASED for the block if BORROWED was sent for the block."""
        self.unannounced.pop(id(block), None)
        if block.announced:
            self.released.append((block.place.region, block.place.offset))


_arenas: WeakValueDictionary[int, Arena] = WeakValueDictionary()


def arena_of(key: int) -> Arena:
    """Return the arena with that key.

    Raises:
        PayloadError: This process has none.
    """
    try:
        return _arenas[key]
    except KeyError:
        raise PayloadError(
            "this lies in the shared memory of another coordinator, or of one that was stopped"
        ) from None
