"""The functions that a core process knows."""

from __future__ import annotations

from threading import RLock
from typing import NoReturn

from tokengate_mp.config.seeds import Lead
from tokengate_mp.errors import PayloadError
from tokengate_mp.wire.payload.definition import about
from tokengate_mp.worker.run.invoke import Function


class Functions(dict[int, Function]):
    """Each by its index. What is not known stands there as well, and fails who calls it.

    (A token that was ended may lie here unbegun when the function that it calls is forgotten.)
    """

    def __init__(self) -> None:
        super().__init__()
        # By the key of each that has one (see `wire.payload.definition`), and what makes its
        # tokens leads.
        self._indices: dict[tuple[str, Lead | None], int] = {}
        self._enrolled: set[int] = set()
        self._lock = RLock()  # the user's own code may run at any allocation

    def __missing__(self, _index: int) -> Function:
        return Function(b"", None, _unknown)

    def define(self, index: int, definition: bytes) -> None:
        """The parent tells of a function."""
        if index in self:  # it was found here, and the parent tells everybody
            return
        key, lead = about(definition)
        with self._lock:
            self[index] = Function(definition, lead)
            if key is not None:
                self._indices.setdefault((key, lead), index)

    def enrol(self, key: str, lead: Lead | None) -> int | None:
        """The index of a function that tokens call here; None if the parent has told of none.

        It stays known: if the parent forgets it meanwhile, it is told of it anew.
        """
        with self._lock:
            index = self._indices.get((key, lead))
            if index is not None:
                self._enrolled.add(index)
            return index

    def add(self, index: int, function: Function, key: str | None) -> None:
        """A function was found here."""
        with self._lock:
            self[index] = function
            self._enrolled.add(index)
            if key is not None:
                self._indices[key, function.lead] = index

    def forget(self, index: int) -> None:
        """The parent has forgotten a function."""
        with self._lock:
            if index in self._enrolled:
                return
            forgotten = self.pop(index, None)
            for key, known in list(self._indices.items()):
                if known == index:
                    del self._indices[key]
        del forgotten  # what the user's code does then, it may do without the lock


def _unknown(*_args: object, **_kwargs: object) -> NoReturn:
    raise PayloadError("the function is not known in this core process: it was forgotten too early")
