"""Identities of objects: what says in another process which object was meant.

An object gets its identity where it is from, when it is first sent. A process that an object of
that identity has come to has one such object, however often it comes again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from weakref import ref


class Identities:
    """Objects and their identities, by which each is found. Objects are not kept alive.

    (Neither hashed nor compared, as a class whose metaclass says what is equal may be either.)
    """

    def __init__(self) -> None:
        self._identities: dict[int, bytes] = {}
        self._objects: dict[bytes, Callable[[], Any]] = {}

    def find(self, identity: bytes) -> Any:
        """Return the object of that identity; None if there is none here."""
        reference = self._objects.get(identity)
        return None if reference is None else reference()

    def get(self, thing: object) -> bytes | None:
        """Return the identity of an object; None if the object has none."""
        identity = self._identities.get(id(thing))
        return identity if identity is None or self.find(identity) is thing else None

    def give(self, thing: object) -> bytes:
        """Return the identity of an object, which gets a new identity if it has none."""
        identity = self.get(thing)
        if identity is None:
            identity = os.urandom(12)
            self.set(thing, identity)
        return identity

    def set(self, thing: object, identity: bytes) -> None:
        """Give an object an identity that came with it.

        An object without weak references, as `object()` is, is kept for good.
        """
        key = id(thing)

        def forget(gone: object) -> None:
            if self._identities.get(key) == identity:
                del self._identities[key]
            # (The collector tells late: another object may have come under that identity.)
            if self._objects.get(identity) is gone:
                del self._objects[identity]

        try:
            self._objects[identity] = ref(thing, forget)
        except TypeError:
            self._objects[identity] = lambda: thing
        self._identities[key] = identity

    def forget(self, thing: object) -> None:
        """Take an object's identity from it, if it has an identity."""
        identity = self._identities.pop(id(thing), None)
        if identity is not None:
            del self._objects[identity]
