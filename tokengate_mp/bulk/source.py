"""The source of a map: its items, taken a batch at a time, in the thread of whoever takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from operator import length_hint
from time import monotonic_ns
from typing import Any


def length_of(items: Iterable[Any]) -> int | None:
    """How many items there are, as far as they tell; None if they do not."""
    try:
        length = length_hint(items, -1)
    except OverflowError:  # a range may be longer than anything else
        return None
    return None if length < 0 else length


class Source:
    """What is left of an iterable.

    A range is cut, and not gone through: a piece of one says in three numbers what it holds.

    Args:
        items: The iterable.

    Attributes:
        ended: Whether nothing is left.
        failure: What the iterable raised; None if it did not.
        item_ns: How long it took to come to each of the items that were taken last, ns.
    """

    __slots__ = ("_rest", "ended", "failure", "item_ns")

    def __init__(self, items: Iterable[Any]) -> None:
        self._rest = items if type(items) is range else iter(items)
        self.ended = False
        self.failure: BaseException | None = None
        self.item_ns = 0

    def left(self) -> int | None:
        """How many items are left, as far as they tell; None if they do not."""
        return 0 if self.ended else length_of(self._rest)

    def take(self, size: int, until: int | None = None) -> Sequence[Any]:
        """Take that many items, or those that are left, or that there is time for.

        Args:
            size: How many; at least 1.
            until: When no more are to be taken, monotonic ns; None for never. One is in any case.
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
        """Take so many more; False if there are not so many."""
        enough = len(taken) + wanted
        try:
            taken.extend(islice(self._rest, wanted))
        except Exception as error:  # noqa: BLE001 - the iterable's own; it comes in its place
            self.failure = error
        if len(taken) < enough:  # and else it may have been ended meanwhile, by the iterable itself
            self.ended = True
        return not self.ended

    def end(self) -> None:
        """Take nothing more."""
        self.ended = True
