"""Variables that came with something that was loaded, and how often any were bound by that.

(Apart from `bindings`, since each core process needs to know whether something has come, and only
those whose functions travel by value need the rest.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakSet

from tokengate_mp.locks import new_lock

T = TypeVar("T")


class Home(Protocol):
    """What variables are bound in.

    Attributes:
        identity: What it is known by in every process.
    """

    identity: bytes

    def bind(self, name: str, version: int, value: Any) -> None:
        """Bind a variable, unless the variable has that version already."""


class User(Protocol):
    """What relies on variables being bound as they came with it."""

    def outdate(self) -> None:
        """Take note that some variable has been bound since, so that they are to be bound anew."""


class _Bound:
    """How often variables were bound, and who relies on it that none is bound again."""

    def __init__(self) -> None:
        self.epoch = 0
        self.users: WeakSet[Any] = WeakSet()


_bound: Final = _Bound()

lock: Final = new_lock()
"""Held while variables are bound, and never while something is loaded or pickled."""


def epoch() -> int:
    """Return how often variables have been bound because something came from another process."""
    return _bound.epoch


def count_binding() -> None:
    """Take note that a variable was bound; the lock is held."""
    _bound.epoch += 1
    if _bound.users:
        users = list(_bound.users)
        _bound.users.clear()
        for user in users:
            user.outdate()


class Arrivals:
    """The variables that came with something, and what they are to be bound to."""

    def __init__(self) -> None:
        self._bindings: dict[tuple[bytes, str], tuple[Home, int, Any]] = {}

    def add(self, home: Home, name: str, version: int, value: Any) -> None:
        """Add a variable."""
        self._bindings[home.identity, name] = home, version, value

    def bind_for(self, user: User | None = None) -> None:
        """Bind the variables, where this process has another version.

        Args:
            user: Told when a variable is bound to something else; held by a weak reference. None:
                nobody is.
        """
        if not self._bindings:
            return
        with lock:
            for (_, name), (home, version, value) in self._bindings.items():
                home.bind(name, version, value)
            if user is not None:
                _bound.users.add(user)


class _Loading(threading.local):
    arrivals: Arrivals | None = None


_loading: Final = _Loading()


def current_arrivals() -> Arrivals | None:
    """Return what collects the variables that come in the calling thread."""
    return _loading.arrivals


def loaded(load: Callable[[], T]) -> tuple[T, Arrivals]:
    """Call a function that loads something; return that, and the variables that came with it."""
    before, _loading.arrivals = _loading.arrivals, Arrivals()
    try:
        return load(), _loading.arrivals
    finally:
        _loading.arrivals = before
