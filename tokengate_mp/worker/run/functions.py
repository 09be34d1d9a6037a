"""The functions that a core process knows."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import NamedTuple, NoReturn

from tokengate_mp.config.manner import ORDINARY, Manner
from tokengate_mp.config.seeds import Lead
from tokengate_mp.errors import PayloadError
from tokengate_mp.wire.payload.definition import about
from tokengate_mp.worker.run.function import Function


class Enrolled(NamedTuple):
    """A function with its options, made known to the parent by the process.

    Attributes:
        number: The number that calls name it by.
        function: The function's index.
        operation_type: The operation that they count as.
        retried: Whether a token that failed may be run again.
        resendable: Whether the parent may have to send a token of it again that has begun.
        lead: What makes its tokens leads; None if they are none.
        unchanged: Tells whether the global variables are bound as they were; None if the function
            came with none.
    """

    number: int
    function: int
    operation_type: str
    retried: bool
    resendable: bool
    lead: Lead | None
    unchanged: Callable[[], bool] | None


class Functions(dict[int, Function]):
    """All functions by index. An unknown index gives a function that raises when called.

    (A token that was ended may lie here unbegun when the function that it calls is forgotten.)
    """

    def __init__(self) -> None:
        super().__init__()
        # By the key of each that has one (see `wire.payload.definition`), and its manner.
        self._indices: dict[tuple[str, Manner], int] = {}
        self._enrolled: set[int] = set()
        self._lock = RLock()  # the user's own code may run at any allocation

    def __missing__(self, _index: int) -> Function:
        return Function(b"", ORDINARY, _unknown)

    def define_function(self, index: int, definition: bytes) -> None:
        """Add a function that the parent has sent.

        Raises:
            WireError: The definition is none.
        """
        if index in self:  # it was found here, and the parent tells everybody
            return
        key, manner = about(definition)
        with self._lock:
            self[index] = Function(definition, manner)
            if key is not None:
                self._indices.setdefault((key, manner), index)

    def enrolled_index(self, key: str, manner: Manner) -> int | None:
        """Return the index of a function that tokens call here; None if the parent sent none.

        From now on the function stays known here: if the parent forgets it meanwhile, the next
        enrolment makes it known to the parent anew.
        """
        with self._lock:
            index = self._indices.get((key, manner))
            if index is not None:
                self._enrolled.add(index)
            return index

    def add_function(self, index: int, function: Function, key: str | None) -> None:
        """Add a function that a token here calls first."""
        with self._lock:
            self[index] = function
            self._enrolled.add(index)
            if key is not None:
                self._indices[key, function.manner] = index

    def forget_function(self, index: int) -> None:
        """Drop a function that the parent has forgotten, unless tokens here call the function."""
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
