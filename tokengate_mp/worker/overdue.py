"""Batches that have run for too long: their items end after the one that is being done.

The thread that makes the calls of a batch is in user code, and to look at the clock between two
calls of a microsecond would cost as much as they do. So the scout looks, from its own thread, and
takes away the items that are left: a `for` loop over a list ends where the list does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Final

_under_way: Final[dict[int, tuple[int, list[Any]]]] = {}
"""By thread: until when its batch may begin further items, monotonic ns, and all its items."""


@contextmanager
def limited(items: list[Any], until: int) -> Iterator[None]:
    """In here this thread begins none of these items but the first after that time, ns."""
    thread = get_ident()
    outer = _under_way.get(thread)  # which waits for a token that this thread runs meanwhile
    _under_way[thread] = until, items
    try:
        yield
    finally:
        if outer is None:
            del _under_way[thread]
        else:
            _under_way[thread] = outer


def curtail(now: int) -> int | None:
    """End those whose time is up; ns until the next one's is, or None if there is none."""
    soonest: int | None = None
    for until, items in list(_under_way.values()):
        if now >= until:
            # Its thread holds a place in this list, and may not have come to the first item yet: a
            # batch that comes back with nothing done would be sent again for ever.
            del items[1:]
        elif soonest is None or until - now < soonest:
            soonest = until - now
    return soonest
