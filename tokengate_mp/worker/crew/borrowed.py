"""Blocks of the arena that outlive the token they came with: what the parent has to know of them.

A view of an argument may be kept by the function, in a cache or a global variable. The parent
keeps the bytes until the outcome of the token is out; so before that goes out, all blocks that are
still read are announced as *borrowed*, whatever token they came with. Nearly always there are none.
A borrowed block that nothing reads any more is *released*.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import cast
from weakref import ref

from tokengate_mp import this_process
from tokengate_mp.errors import WireError
from tokengate_mp.wire.arena.arena import CoreArena, CoreBlock
from tokengate_mp.wire.payload.msgpack import decoder
from tokengate_mp.wire.protocol.records import BORROWED, NUMBERS_PER_RECORD, RELEASED, encode

_decode_offsets = decoder(list[int])


class Borrowed:
    """The blocks of the arena that the process reads.

    Args:
        publish: Writes a record for the parent.

    Attributes:
        unannounced: Blocks of which the parent may not know (see `wire.arena.arena.CoreArena`).
        released: Blocks of which the parent knows, and that nothing reads any more.
    """

    def __init__(self, publish: Callable[[int, bytes], object]) -> None:
        self._arena = arena = cast("CoreArena | None", this_process.arena)
        self._publish = publish
        self._announcing = threading.Lock()
        self.unannounced: dict[int, ref[CoreBlock]] = {} if arena is None else arena.unannounced
        self.released: deque[tuple[int, int]] = deque() if arena is None else arena.released

    def announce_blocks(self) -> None:
        """Announce blocks that are read beyond an outcome, and blocks that are not read any more.

        A block is unannounced until its record is out: another thread that finds it so has to wait.
        """
        with self._announcing:
            self._announce_borrowed()
            self._announce_released()

    def _announce_borrowed(self) -> None:
        references = list(self.unannounced.values())
        blocks = [block for known in references if (block := known()) is not None]
        for at in range(0, len(blocks), NUMBERS_PER_RECORD):
            some = blocks[at : at + NUMBERS_PER_RECORD]
            names = [(block.place.region, block.place.offset) for block in some]
            self._publish(0, encode((0, BORROWED, 0, 0, names)))
            for block in some:
                block.announced = True
                self.unannounced.pop(id(block), None)

    def _announce_released(self) -> None:
        while self.released:
            names: list[tuple[int, int]] = []
            try:
                names.extend(self.released.popleft() for _ in range(NUMBERS_PER_RECORD))
            except IndexError:  # that was the last one
                pass
            self._publish(0, encode((0, RELEASED, 0, 0, names)))

    def free_results(self, offsets: bytes) -> None:
        """Free blocks with results that nobody needs any more.

        Args:
            offsets: Where in the region of this process they begin: an encoded list.

        Raises:
            WireError: This process has written nothing there.
        """
        try:
            assert self._arena is not None, "there is no arena"
            self._arena.take_back(_decode_offsets(offsets))
        except (AssertionError, KeyError) as error:
            raise WireError(f"no blocks of this process: {error!r}") from error
