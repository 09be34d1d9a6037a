"""The global variables that functions refer to, as they are found while functions are pickled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from tokengate_mp.wire.payload.namespaces.arrivals import epoch
from tokengate_mp.wire.payload.namespaces.watch import Unchanged, watch

Names = tuple[tuple[bytes, tuple[str, ...]], ...]
"""Names of variables, of each namespace, by its identity."""


class Variables(Protocol):
    """The variables of a module whose functions travel by value (see `bindings`).

    Attributes:
        identity: What it is known by in every process.
        variables: The variables.
        own: Whether they are at home in this process.
        bound: The version of each variable that has travelled, and what it was bound to.
        watches: What tells owners whether variables are bound as they were. It refers to the
            variables, so it is kept with them.
    """

    identity: bytes
    variables: dict[str, Any]
    own: bool
    bound: dict[str, tuple[int, Callable[[], object]]]
    watches: WeakKeyDictionary[Any, Unchanged]


class Reach:
    """The variables that something refers to, directly and by way of others.

    Attributes:
        seen: By the identity of a namespace: that, and for each name what it was bound to.
    """

    def __init__(self) -> None:
        self.seen: dict[bytes, tuple[Variables, dict[str, Any]]] = {}
        self._epoch = epoch()

    def names_of(self, namespace: Variables) -> dict[str, Any]:
        """Return the names that were reached in a namespace, and what they were bound to."""
        return self.seen.setdefault(namespace.identity, (namespace, {}))[1]

    def include(self, other: Reach) -> None:
        """Add what another thing reaches."""
        for namespace, seen in other.seen.values():
            self.names_of(namespace).update(seen)
        self._epoch = min(self._epoch, other._epoch)

    def watch(self) -> Unchanged | None:
        """Return what tells whether all of that is as it was; None if nothing is reached."""
        own = [(each.variables, seen) for each, seen in self.seen.values() if each.own]
        here, then = watch(own), self._epoch
        if all(namespace.own for namespace, _ in self.seen.values()):
            return here
        if here is None:  # what comes from elsewhere changes when something comes
            return lambda: epoch() == then
        return lambda: epoch() == then and here()

    def names(self) -> Names:
        """Return the names that were reached, of each namespace."""
        return tuple((identity, tuple(seen)) for identity, (_, seen) in self.seen.items() if seen)

    def watches(self) -> WeakKeyDictionary[Any, Unchanged] | None:
        """Return where a watch can be kept; None if nothing is reached."""
        for namespace, _ in self.seen.values():
            return namespace.watches
        return None

    def state(self) -> list[tuple[bytes, str, int]]:
        """Return the version of each variable that has one."""
        versions = [
            (identity, name, namespace.bound[name][0])
            for identity, (namespace, seen) in self.seen.items()
            for name in seen
            if name in namespace.bound
        ]
        return sorted(versions)


class _Reaching(threading.local):
    def __init__(self) -> None:
        self.reach: Reach | None = None
        self.begun: set[tuple[bytes, str]] = set()


_reaching: Final = _Reaching()


@contextmanager
def reaching() -> Iterator[Reach]:
    """Collect what functions refer to that are pickled as definitions within the context."""
    before, here = _reaching.reach, Reach()
    _reaching.reach = here
    try:
        yield here
    finally:
        _reaching.reach = before
        reached(here)


def reached(reach: Reach) -> None:
    """Add what something reaches to what is being collected, if anything is."""
    if _reaching.reach is not None:
        _reaching.reach.include(reach)


def current_dumps() -> set[tuple[bytes, str]]:
    """Return the variables whose values are being pickled by themselves in the calling thread."""
    return _reaching.begun
