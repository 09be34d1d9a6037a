"""Blocks of the arena that outlive the token they came with: what the parent has to know of them.

A view of an argument may be kept by the function, in a cache or a global variable. The parent
keeps the bytes until the outcome of the token is out; so before that goes out, it is told of all
blocks that are looked at, by whatever token. Nearly always there are none.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, cast
from weakref import ref

import msgspec

from tokengate_mp import this_process
from tokengate_mp.errors import WireError
from tokengate_mp.wire.arena.arena import Block, CoreArena
from tokengate_mp.wire.protocol.records import BORROWED, RELEASED, encode

_AT_ONCE: Final = 64
"""How many blocks go in one record: the shortest ring takes them in one piece."""

_decode_offsets = msgspec.msgpack.Decoder(list[int]).decode


class Kept:
    """What is looked at in the arena of a core process.

    Args:
        publish: Writes a record for the parent.

    Attributes:
        unannounced: Blocks of which the parent may not know (see `wire.arena.arena.CoreArena`).
        returned: Blocks of which it knows, and which are looked at no more.
    """

    def __init__(self, publish: Callable[[int, bytes], object]) -> None:
        self._arena = arena = cast("CoreArena | None", this_process.arena)
        self._publish = publish
        self._telling = threading.Lock()
        self.unannounced: dict[int, ref[Block]] = {} if arena is None else arena.unannounced
        self.released: deque[tuple[int, int]] = deque() if arena is None else arena.released

    def tell(self) -> None:
        """Tell the parent which blocks are looked at when an outcome is out, and which no more.

        A block is untold until its record is out: another thread that finds it so has to wait.
        """
        with self._telling:
            self._tell_kept()
            self._tell_let_go()

    def _tell_kept(self) -> None:
        blocks = [
            block for known in list(self.unannounced.values()) if (block := known()) is not None
        ]
        for at in range(0, len(blocks), _AT_ONCE):
            told = blocks[at : at + _AT_ONCE]
            self._publish(0, encode((0, BORROWED, 0, 0, [_name(block) for block in told])))
            for block in told:
                block.announced = True
                self.unannounced.pop(id(block), None)

    def _tell_let_go(self) -> None:
        while self.released:
            names: list[tuple[int, int]] = []
            try:
                names.extend(self.released.popleft() for _ in range(_AT_ONCE))
            except IndexError:  # that was the last one
                pass
            self._publish(0, encode((0, RELEASED, 0, 0, names)))

    def free(self, offsets: bytes) -> None:
        """Results that this process had written are needed no more.

        Raises:
            WireError: It has written none there.
        """
        try:
            assert self._arena is not None, "there is no arena"
            self._arena.take_back(_decode_offsets(offsets))
        except (AssertionError, KeyError, msgspec.DecodeError) as error:
            raise WireError(f"no blocks of this process: {error!r}") from error


def _name(block: Block) -> tuple[int, int]:
    return block.place.region, block.place.offset
