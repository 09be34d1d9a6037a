"""Where something is in an arena."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where a block is.

    Attributes:
        arena: The key of its arena.
        region: Its region.
        offset: Where it begins in there.
        size: How many bytes it has.
    """

    arena: int
    region: int
    offset: int
    size: int
