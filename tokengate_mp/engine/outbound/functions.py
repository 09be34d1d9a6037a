"""The functions that the core processes know, each under an index.

Every process gets every definition, and gets it before the first token that needs it, since both
go through the same ring.

A function of a script has a version for each state that its global variables are called in: another
one, with an index of its own, once a variable is bound anew. A version that is not the latest is
forgotten everywhere when the last of its tokens has ended; and the latest, when nobody refers to
the function any more (a lambda that was submitted once).
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

from tokengate_mp.config.manner import ORDINARY, Manner
from tokengate_mp.locks import new_lock
from tokengate_mp.tokens.enrolled import Version
from tokengate_mp.wire.payload.codec import to_pickle
from tokengate_mp.wire.payload.definition import defined, innermost
from tokengate_mp.wire.payload.diagnosis.path import refused_function


class Functions:
    """Indices and definitions. Calls may come from any thread.

    Attributes:
        known: The definition of each index.
        news: What the core processes have to be told: an index and its definition, or None for one
            to be forgotten.
    """

    def __init__(self) -> None:
        self.known: dict[int, bytes] = {}
        self.news: deque[tuple[int, bytes | None]] = deque()
        self._latest: dict[tuple[int, Manner], Version] = {}
        self._kept: list[object] = []
        self._called_elsewhere: set[int] = set()
        self._next = count()
        self._lock = new_lock()

    def version(
        self, function: Callable[..., Any], operation_type: str, manner: Manner = ORDINARY
    ) -> Version:
        """Return the version of `function` as its variables are now: news at its first call.

        Args:
            function: The function.
            operation_type: What calls of it count as, for the error.
            manner: How its tokens are run: for each manner it has an index.

        Raises:
            PayloadError: It cannot be sent.
        """
        identity = id(function), manner
        known = self._latest.get(identity)
        if known is not None and known.is_current():
            return known
        try:
            definition, _key, unchanged, watches = defined(function, manner)
        except Exception as error:
            raise refused_function(operation_type, innermost(function), error, to_pickle) from error
        with self._lock:
            latest = self._latest.get(identity)
            if latest is not known and latest is not None and latest.is_current():
                return latest  # another thread was faster
            version = Version(next(self._next), unchanged)
            self.known[version.index] = definition
            self.news.append((version.index, definition))
            weakref.finalize(version, self._superseded, version.index).atexit = False
            if unchanged is not None and watches is not None:
                watches[version] = unchanged
            self._latest[identity] = version
            if latest is None:
                try:
                    weakref.finalize(function, self._gone, identity).atexit = False
                except TypeError:  # it cannot be referred to weakly: it is never forgotten
                    self._kept.append(function)
        return version

    def adopt(self, index: int, definition: bytes) -> None:
        """Never forget a function from now on, since a core process makes calls of the function.

        It may be new, and have an index of that process's own; or have been dropped here while the
        process was about to call it. In the coordinator's thread.
        """
        self._called_elsewhere.add(index)
        if index not in self.known:
            self.known[index] = definition
            self.news.append((index, definition))

    # These run in whatever thread drops the last reference, perhaps inside the lock: so no lock.

    def _gone(self, identity: tuple[int, Manner]) -> None:
        self._latest.pop(identity, None)

    def _superseded(self, index: int) -> None:
        self.news.append((index, None))

    def read_news(self) -> list[tuple[int, bytes | None]]:
        """Take the news; in the engine's thread."""
        news = []
        while self.news:
            index, definition = self.news.popleft()
            if definition is None:
                if index in self._called_elsewhere:
                    continue
                self.known.pop(index, None)
            news.append((index, definition))
        return news
