"""Cutting batches short: their items end after the one that is being done.

A batch is cut when it has run for too long, and when another core has nothing to do. What was cut
off can go to another core at once, as the parent is told how many items the batch will come back
with: the one that is being done may take long.

The thread that makes the calls of a batch is in user code, and to look at the clock between two
calls of a microsecond would cost as much as they do. So the control thread looks, and takes away
the items that are left: a `for` loop over a list ends where the list does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Final, NamedTuple


class Cut(NamedTuple):
    """The rest of a batch that was cut short.

    Attributes:
        token: The number of its token.
        items: How many items it will come back with, the item that is being done included.
    """

    token: int
    items: int


class _Batch(NamedTuple):
    token: int
    until: int
    items: list[Any]
    rest: Iterator[Any]

    def cut_short(self) -> Cut | None:
        """Take away the items that are left; None if there are none, or the batch is over."""
        count = len(self.items)
        # Its thread may not have come to the first item yet, and does that one then: a batch that
        # comes back with nothing done would be sent again for ever.
        del self.items[1:]
        # Only from here on can no further item begin. How many have is what a pickle of the
        # iterator would say; of one that has come to its end, it says nothing.
        places = self.rest.__reduce__()[2:]
        begun = max(1, *map(int, places)) if places else count
        return Cut(self.token, begun) if begun < count else None


_under_way: Final[dict[int, _Batch]] = {}
"""By thread: the batch that it runs."""


@contextmanager
def cuttable(token: int, items: list[Any], until: int) -> Iterator[Iterator[Any]]:
    """Give the items of a batch in turn, for as long as the batch is not cut.

    Args:
        token: The number of its token.
        items: Its items; they are taken away when it is cut.
        until: When its time is up, monotonic ns.
    """
    thread = get_ident()
    outer = _under_way.get(thread)  # which waits for a token that this thread runs meanwhile
    rest = iter(items)
    try:
        _under_way[thread] = _Batch(token, until, items, rest)
        yield rest
    finally:
        if outer is None:
            _under_way.pop(thread, None)  # an interruption may have come before the first line
        else:
            _under_way[thread] = outer


def cut_overdue(now: int) -> tuple[list[Cut], int | None]:
    """Cut each batch whose time is up.

    Args:
        now: Monotonic ns.

    Returns:
        The rests of those batches; and how long the next batch has, ns, or None if there is none.
    """
    batches = list(_under_way.values())
    left = [batch.until - now for batch in batches if batch.until > now]
    return _cut([batch for batch in batches if batch.until <= now]), min(left, default=None)


def cut_all() -> list[Cut]:
    """Cut every batch, and return the rests."""
    return _cut(list(_under_way.values()))


def _cut(batches: list[_Batch]) -> list[Cut]:
    """Cut batches, and return the rest of each that had not been cut before."""
    return [cut for batch in batches if (cut := batch.cut_short()) is not None]
