"""Mapping a function over items inside a token.

Each item is a token of its own there: in a chain it is run by the thread that asks for its result,
with nothing to send, and elsewhere other cores can take their share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from tokengate_mp.config.checks import buffered_items
from tokengate_mp.errors import belongs_to
from tokengate_mp.worker.nested.child_token import ChildToken

BUFFERED_ITEMS: Final = 256
"""How many items are taken ahead of the results, unless the caller says else."""


class NestedMap:
    """The results of a function that is mapped over items inside a token.

    The results can be gone through once, with `for`; the next result is waited for as by `get`.

    Args:
        call: Makes a token of one item's arguments.
        items: The arguments of the calls.
        name: The operation, for the note that errors get.
        ordered: Whether results come in the order of the items, or those first that are there.
        buffersize: How many items may be taken and not given back as results; None for
            `BUFFERED_ITEMS`.
        return_exceptions: Whether errors are given like results.

    Raises:
        TypeError: `buffersize` is no int.
        ValueError: `buffersize` is below 1.
    """

    def __init__(  # noqa: PLR0913 - the options of a map, each with a name
        self,
        call: Callable[..., ChildToken],
        items: Iterator[Iterable[Any]],
        name: str,
        *,
        ordered: bool,
        buffersize: int | None,
        return_exceptions: bool,
    ) -> None:
        self._call = call
        self._items = items
        self._name = name
        self._ordered = ordered
        self._ahead = buffered_items(buffersize) or BUFFERED_ITEMS
        self._return_exceptions = return_exceptions
        self._under_way: deque[tuple[int, ChildToken]] = deque()
        self._taken = 0
        self._used = False
        self._take_items()

    def _take_items(self) -> None:
        """Take as many items as may be under way."""
        while len(self._under_way) < self._ahead:
            try:
                arguments = next(self._items)
            except StopIteration:
                return
            self._under_way.append((self._taken, self._call(*arguments)))
            self._taken += 1

    def __iter__(self) -> Iterator[Any]:
        if self._used:
            raise RuntimeError("a map can be gone through once; keep its results, or map again")
        self._used = True
        return self._results()

    def _results(self) -> Iterator[Any]:
        try:
            while self._under_way:
                index, token = self._next()
                yield self._result(index, token)
                self._take_items()
        finally:
            self.close()

    def _next(self) -> tuple[int, ChildToken]:
        under_way = self._under_way
        if not self._ordered:
            for at, (_, token) in enumerate(under_way):
                if token.done():
                    under_way.rotate(-at)
                    break
        return under_way.popleft()

    def _result(self, index: int, token: ChildToken) -> Any:
        try:
            return token.get()
        except Exception as error:
            belongs_to(error, index, 1, self._name)
            if self._return_exceptions:
                return error
            raise

    def close(self) -> None:
        """End the map: end the tokens that are under way, and take no further item."""
        self._items = iter(())
        while self._under_way:
            self._under_way.pop()[1].kill("the map that it belongs to was closed before its end")
