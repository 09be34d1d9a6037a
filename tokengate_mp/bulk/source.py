"""The source of a map: its items, taken a batch at a time, in the thread of whoever takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from operator import length_hint
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
    """

    __slots__ = ("_rest", "ended", "failure")

    def __init__(self, items: Iterable[Any]) -> None:
        self._rest = items if type(items) is range else iter(items)
        self.ended = False
        self.failure: BaseException | None = None

    def left(self) -> int | None:
        """How many items are left, as far as they tell; None if they do not."""
        return 0 if self.ended else length_of(self._rest)

    def take(self, size: int) -> Sequence[Any]:
        """Take that many items, or those that are left."""
        if self.ended:
            return ()
        if isinstance(self._rest, range):
            piece, self._rest = self._rest[:size], self._rest[size:]
            if len(piece) < size:
                self.ended = True
            return piece
        taken: list[Any] = []
        try:
            taken.extend(islice(self._rest, size))
        except Exception as error:  # noqa: BLE001 - the iterable's own; it comes in its place
            self.failure = error
        if len(taken) < size:  # and else it may have been ended meanwhile, by the iterable itself
            self.ended = True
        return taken

    def end(self) -> None:
        """Take nothing more."""
        self.ended = True
