"""Memoryviews, taken apart and put together again: bytes, a kind of items, and a shape."""

from __future__ import annotations

import pickle
from typing import Any, Final

_LONGEST_ITEM: Final = 16
"""No item of a memoryview of bytes has more bytes than this; and it is a multiple of all."""


def view_of(data: Any, kind: str, shape: tuple[int, ...]) -> memoryview:
    """Make a memoryview of bytes with the given kind of items and shape."""
    empty = shape == (0,)  # to which nothing can be cast
    whole: Any = memoryview(bytes(_LONGEST_ITEM) if empty else data)
    view: memoryview = whole.cast(kind)[:0] if empty else whole.cast(kind, shape)
    return view


def form_of(view: memoryview) -> tuple[str, tuple[int, ...]]:
    """Return the kind of items and the shape of a memoryview, for `view_of`.

    Raises:
        pickle.PicklingError: There is no such memoryview of bytes.
    """
    shape = tuple(view.shape or ())
    try:
        whole: Any = memoryview(bytes(_LONGEST_ITEM))
        whole.cast(view.format)
    except ValueError:
        possible = False
    else:
        possible = 0 not in shape or shape == (0,)
    if not possible:
        raise pickle.PicklingError(
            f"a memoryview of format {view.format!r} and shape {shape} cannot be made anew of its "
            "bytes; pass what it is a view of, or `view.cast('B')`"
        )
    return view.format, shape
