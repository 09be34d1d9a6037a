"""The arena as the process sees it that made it: who writes where, and what is in use.

See `arena`, of which this is the parent's side.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Callable
from typing import Final, Self
from weakref import ref

import msgspec

from tokengate_mp.errors import PayloadError
from tokengate_mp.locks import new_lock
from tokengate_mp.wire.arena.allotment import GRAIN
from tokengate_mp.wire.arena.arena import Arena, ArenaAddress, Block
from tokengate_mp.wire.arena.pages import discard
from tokengate_mp.wire.arena.place import Place
from tokengate_mp.wire.arena.stored import StoredParts
from tokengate_mp.wire.channel.segment import portable, unnamed

_MAX_FILE: Final = 1 << 46
"""The most bytes an arena promises: what a process can map has 47 bits."""


class BlockRef(ref[Block]):
    """A weak reference to a block, with what is to be given back when the block is no more.

    (Not by a `__del__` of the block: while one runs, another thread could still find the block.)

    Attributes:
        place: Where the block is.
        mapped: The region that it is in.
        arena: The arena.
        samples: By which samples its parts are known (see `stored`).
    """

    __slots__ = ("arena", "mapped", "place", "samples")

    def __new__(cls, block: Block, gone: Callable[[BlockRef], object], _arena: ParentArena) -> Self:
        """Refer to a block of an arena."""
        return super().__new__(cls, block, gone)

    def __init__(
        self, block: Block, gone: Callable[[BlockRef], object], arena: ParentArena
    ) -> None:
        super().__init__(block, gone)  # type: ignore[call-arg]  # typeshed has no such __init__
        self.place = block.place
        self.mapped = block.mapped
        self.arena = arena
        self.samples: list[tuple[int, bytes]] = []


def _unreferenced(found: BlockRef) -> None:
    found.arena.unreferenced(found)


class ParentArena(Arena):
    """The arena in the process that has made the arena.

    Attributes:
        blocks: The blocks in use, by region and offset.
        stored: The parts of arguments in use.
    """

    stored: StoredParts

    def __init__(self, address: ArenaAddress, core_limit: int) -> None:
        super().__init__(address)
        self.blocks: dict[tuple[int, int], BlockRef] = {}
        self.stored = StoredParts()
        self._core_limit = core_limit
        self._vacant = deque(range(1, address.regions))
        self._left: set[int] = set()
        self._foreign = False

    @classmethod
    def make(cls, limit: int, cores: int) -> Self | None:
        """Make an arena; None if the system gives none, so that everything goes by the rings.

        Args:
            limit: How many bytes may be used in all. Half of them are for arguments, and the other
                half is for results, an equal part for each core.
            cores: How many core processes write in it at a time.
        """
        own, core_limit = limit // 2, limit // 2 // cores
        region_bytes = -(-max(own, 1) // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        # For every core one, and more for processes that follow on others, of which results live.
        regions = min(1 + 4 * cores, _MAX_FILE // region_bytes)
        if regions <= cores:
            return None
        size = regions * region_bytes
        fd = -1
        try:
            fd = unnamed(size) if portable() else os.memfd_create("tokengate_mp-arena")
            if os.fstat(fd).st_size < size:
                os.ftruncate(fd, size)
        except (OSError, ValueError, OverflowError):
            if fd >= 0:
                os.close(fd)
            return None
        key = int.from_bytes(os.urandom(7), "big")
        arena = cls(ArenaAddress(fd, key, region_bytes, regions, 0, own), core_limit)
        try:
            arena.region(0)
        except (OSError, ValueError):
            arena.close_arena()
            return None
        return arena

    # ---- core processes

    def berth(self) -> ArenaAddress:
        """Return the address of the arena for a new core process.

        The process gets a region of its own; or none, if results of processes that have ended still
        lie in every region, or it cannot be mapped here: its limit is 0 then.
        """
        for region in tuple(self._left):
            if not any(at == region for at, _offset in tuple(self.blocks)):
                self._left.discard(region)
                self._vacant.append(region + self._address.regions)
        if not self._vacant:
            return msgspec.structs.replace(self._address, limit=0)
        region = self._vacant.popleft()
        try:
            # Not with its first result: so descriptors (each map has one) are as many all the time.
            self.region(region)
        except (OSError, ValueError):
            self._vacant.appendleft(region)
            return msgspec.structs.replace(self._address, limit=0)
        return msgspec.structs.replace(self._address, region=region, limit=self._core_limit)

    def retire_region(self, region: int) -> None:
        """Give back the region of a process that has ended, but for blocks still in use."""
        if region:
            self._left.add(region)
            if not self._closed:
                self._sweep(region)
                # What is looked at there keeps the map that it is in.
                self._maps.pop(region % self._address.regions, None)

    def take_released(self) -> dict[int, list[int]]:
        """Free released blocks of region 0, and return the offsets of all others, by region.

        Their writers have to be told. In the engine's thread.
        """
        offsets: dict[int, list[int]] = {}
        while self.released:
            region, offset = self.released.popleft()
            offsets.setdefault(region, []).append(offset)
        self.take_back(offsets.pop(0, ()))
        return offsets

    def put(self, parts: list[memoryview]) -> tuple[Place, list[int]] | None:
        """Write bytes into a new block; from any thread."""
        if self.released:
            # Only what is this region's: the writers of others are told by the engine's thread.
            mine: list[int] = []
            for _ in range(len(self.released)):
                try:
                    entry = self.released.popleft()
                except IndexError:  # another thread was faster
                    break
                if entry[0]:
                    self.released.append(entry)
                else:
                    mine.append(entry[1])
            self.take_back(mine)
        return super().put(parts)

    def put_block(
        self, parts: list[memoryview], *, pickle_first: bool = False
    ) -> tuple[Place, list[int], Block | None] | None:
        """Write bytes into a new block, and know its parts for calls with the same; any thread."""
        put = super().put_block(parts)
        if put is not None and put[2] is not None:
            place, starts, _block = put
            reference = self.blocks[place.region, place.offset]
            if pickle_first:
                self.stored.remember_pickle(reference, starts[0], len(parts[0]))
            skipped = int(pickle_first)
            self.stored.remember(reference, starts[skipped:], parts[skipped:])
        return put

    # ---- blocks

    def claim_block(self, place: Place) -> Block:
        """Take a block that was written, here or in a core process, into use."""
        block = Block(self, place)
        self.blocks[place.region, place.offset] = BlockRef(block, _unreferenced, self)
        return block

    def block_at(self, place: Place) -> Block:
        """Return the block at a place.

        Raises:
            PayloadError: Nothing has referred to it any more.
        """
        return self.known_block(place.region, place.offset)

    def known_block(self, region: int, offset: int) -> Block:
        """Return the block at a region and an offset.

        Raises:
            PayloadError: Nothing has referred to it any more.
        """
        found = self.blocks.get((region, offset))
        block = None if found is None else found()
        if block is None:
            raise PayloadError("this was in shared memory, and has been let go")
        return block

    def unreferenced(self, block: BlockRef) -> None:
        """Give back a block to which nothing refers any more. At any moment, in any thread."""
        if self._foreign:
            return
        _key, region, offset, size = block.place
        if not region:
            self.stored.forget(block)
        if self._closed or region in self._left:
            # First this: who finds no block in a region may have it used anew.
            discard(block.mapped, offset, offset + -(-size // GRAIN) * GRAIN)
            self.blocks.pop((region, offset), None)
        else:
            self.blocks.pop((region, offset), None)
            self.released.append((region, offset))

    def bytes_in_use(self) -> tuple[int, int]:
        """Return how many bytes are in use, of arguments and of results."""
        arguments = results = 0
        for known in list(self.blocks.values()):
            block = known()
            if block is not None and block.place.region:
                results += block.place.size
            elif block is not None:
                arguments += block.place.size
        return arguments, results

    def _sweep(self, region: int) -> None:
        """Give back all of a region but the blocks in use."""
        regions = self._address.regions
        try:
            mapped = self.region(region)
        except (OSError, ValueError):
            return
        living = []
        for known in list(self.blocks.values()):
            block = known()
            if block is not None and block.place.region % regions == region % regions:
                living.append((block.place.offset, block.place.size))
        at = 0
        for offset, size in sorted(living):
            discard(mapped, at, offset)
            at = offset + -(-size // GRAIN) * GRAIN
        discard(mapped, at, len(mapped))

    # ---- the end

    def close_arena(self) -> None:
        """Write no more, and give the memory back. Blocks in use stay for as long as they are."""
        with self._lock:
            if self._closed:
                return
            for region in tuple(self._maps):
                self._sweep(region)
            self._closed = True
            self.stored = StoredParts()  # nothing more is put beside what is stored
            self._maps.clear()
            os.close(self._address.fd)

    def disown_arena(self) -> None:
        """Let go of the arena in a fork of the process: it belongs to the parent."""
        self._foreign = self._closed = True
        self._lock = new_lock()  # another thread of the parent's may have held it
        self._maps.clear()
        os.close(self._address.fd)
