"""The source of a map: its items, taken a batch at a time, in the thread of whoever takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from operator import length_hint
from time import monotonic_ns
from typing import Any


def length_of(items: Iterable[Any]) -> int | None:
    """The number of items, as far as the iterable tells; None if that is unknown."""
    try:
        length = length_hint(items, -1)
    except OverflowError:  # a range may be longer than anything else
        return None
    return None if length < 0 else length


class Source:
    """The items of an iterable that were not taken.

    A range is cut, and not gone through: a piece of a range is three numbers.

    Args:
        items: The iterable.

    Attributes:
        ended: Whether nothing is left.
        failure: The error of the iterable; None if there is none.
        item_ns: How long each of the items took that were taken last, ns.
    """

    __slots__ = ("_rest", "ended", "failure", "item_ns")

    def __init__(self, items: Iterable[Any]) -> None:
        self._rest = items if type(items) is range else iter(items)
        self.ended = False
        self.failure: BaseException | None = None
        self.item_ns = 0

    def items_left(self) -> int | None:
        """The number of items left, as far as the iterable tells; None if that is unknown."""
        return 0 if self.ended else length_of(self._rest)

    def take_items(self, size: int, until: int | None = None) -> Sequence[Any]:
        """Take items: so many, or as many as are left, or as there is time for.

        Args:
            size: The number of items; at least 1.
            until: When no more items are to be taken, monotonic ns; None for never. A single item
                is taken in any case.
        """
        if self.ended:
            return ()
        if isinstance(self._rest, range):
            piece, self._rest = self._rest[:size], self._rest[size:]
            if len(piece) < size:
                self.ended = True
            return piece
        taken: list[Any] = []
        began = now = monotonic_ns()
        wanted = size if until is None else 1
        while self._take_more(taken, wanted):
            now = monotonic_ns()
            if len(taken) == size or (until is not None and now >= until):
                break
            # More at a time, as to look at the clock for each would cost more than most items. (If
            # all take as long, this overshoots by as much again.)
            wanted = min(len(taken) + 1, size - len(taken))
        self.item_ns = (now - began) // max(1, len(taken))
        return taken

    def _take_more(self, taken: list[Any], wanted: int) -> bool:
        """Take so many more items; False if there are fewer."""
        enough = len(taken) + wanted
        try:
            taken.extend(islice(self._rest, wanted))
        except Exception as error:  # noqa: BLE001 - the iterable's own; it comes in its place
            self.failure = error
        if len(taken) < enough:  # and else it may have been ended meanwhile, by the iterable itself
            self.ended = True
        return not self.ended

    def stop_reading(self) -> None:
        """Take nothing more."""
        self.ended = True
