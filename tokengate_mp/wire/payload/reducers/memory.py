"""Memoryviews: copied, and views of the same form again on arrival."""

from __future__ import annotations

from typing import Any

from tokengate_mp.wire.payload.views import form_of, view_of


def reduce_view(view: memoryview) -> tuple[Any, ...]:
    """Reduce a memoryview to a copy of the bytes, with the form of the view.

    Raises:
        pickle.PicklingError: No memoryview of bytes has that form.
    """
    data = view.tobytes()
    return view_of, (data if view.readonly else bytearray(data), *form_of(view))
