"""Putting a pickle and its buffers into the arena: where each part lies then.

What lies in a block already that is in use is not written again (see `wire.arena.stored`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tokengate_mp.wire.arena.arena import Arena, Block
from tokengate_mp.wire.arena.place import Place
from tokengate_mp.wire.arena.stored import Span

LARGE_PICKLE: Final = 1 << 14
"""From so many bytes on a pickle goes into a block together with its buffers."""

Cut = tuple[int, int, int]
"""A part of a block: which of the blocks, and where in there it begins and ends."""


class Stowed:
    """Where a pickle and its buffers lie.

    Args:
        places: Where the blocks are.
        blocks: The blocks that are for this process to keep.
        parts: Each buffer, in a block or by itself; before these the pickle, if all is in one block
            and the pickle is too.
        inner: The pickle, if all else is in one block; may be empty.
        head: The pieces of the pickle, if anything was there before.
        written: How many bytes were written into a block.
    """

    __slots__ = ("blocks", "head", "inner", "parts", "places", "written")

    def __init__(  # noqa: PLR0913 - a plain record; a NamedTuple would cost each core's start more
        self,
        places: Sequence[Place],
        blocks: Sequence[Block],
        parts: Sequence[Any],
        inner: bytes = b"",
        *,
        head: Sequence[Cut | bytes] = (),
        written: int = 0,
    ) -> None:
        self.places = places
        self.blocks = blocks
        self.parts = parts
        self.inner = inner
        self.head = head
        self.written = written

    @property
    def is_plain(self) -> bool:
        """Whether everything was written into one block, for this value."""
        return not self.head


def stow(arena: Arena, pickled: bytes, buffers: list[memoryview]) -> Stowed | None:
    """Put a pickle and its buffers into a block, but for what lies in blocks already.

    Args:
        arena: The arena.
        pickled: The pickle.
        buffers: Its buffers.

    Returns:
        Where everything is; None if there is no room.
    """
    if arena.stored is not None:
        around = arena.stored.find_around(memoryview(pickled))
        spans = [arena.stored.find(buffer) for buffer in buffers]
        if around is not None or any(spans):
            return _stow_rest(arena, pickled, around, buffers, spans)
    parts, inner = list(buffers), pickled
    if len(pickled) >= LARGE_PICKLE:
        parts, inner = [memoryview(pickled), *buffers], b""
    put = arena.put_block(parts, pickle_first=not inner)
    if put is None:
        return None
    place, starts, block = put
    cuts = [(0, start, start + len(part)) for start, part in zip(starts, parts, strict=True)]
    return Stowed([place], () if block is None else (block,), cuts, inner, written=place.size)


def _stow_rest(
    arena: Arena,
    pickled: bytes,
    around: tuple[Span, Span] | None,
    buffers: list[memoryview],
    spans: list[Span | None],
) -> Stowed:
    """Put what is new into a block of its own; what finds no room there goes with the pickle."""
    middle = memoryview(pickled)
    if around is not None:
        middle = middle[around[0].size : len(pickled) - around[1].size]
    new = [buffer for buffer, span in zip(buffers, spans, strict=True) if span is None]
    if len(middle) >= LARGE_PICKLE:
        new.insert(0, middle)
    put = arena.put_block(new) if new else None
    blocks: list[Block] = []
    written, new_spans = 0, list[Span]()
    if put is not None:
        place, starts, block = put
        assert block is not None, "whoever knows what is stored keeps the blocks"
        written = place.size
        new_spans = [
            Span(block, start, start + len(part)) for start, part in zip(starts, new, strict=True)
        ]

    def cut(span: Span) -> Cut:
        if span.block not in blocks:
            blocks.append(span.block)
        return blocks.index(span.block), span.start, span.end

    head: list[Cut | bytes] = []
    if len(middle) < LARGE_PICKLE or not new_spans:
        head.append(bytes(middle))
    else:
        head.append(cut(new_spans.pop(0)))
    if around is not None:
        head = [*map(cut, around[:1]), *head, *map(cut, around[1:])]
    parts: list[Cut | memoryview] = []
    for buffer, span in zip(buffers, spans, strict=True):
        found = span or (new_spans.pop(0) if new_spans else None)
        parts.append(buffer if found is None else cut(found))
    return Stowed([block.place for block in blocks], blocks, parts, head=head, written=written)
