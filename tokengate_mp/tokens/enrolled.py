"""What a call has of its function: under which index the core processes know it, and as what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref


class Version:
    """A function as it was enrolled: with the global variables as they were bound then.

    Core processes know it for as long as this object lives: calls that have not ended, and whoever
    will make the next, refer to it.

    Args:
        index: The index that the function travels by.
        unchanged: Tells whether the variables are bound as they were; None if there are none. It
            is referred to weakly, as it refers to the variables.
    """

    __slots__ = ("__weakref__", "_unchanged", "index")

    def __init__(self, index: int, unchanged: Callable[[], bool] | None) -> None:
        self.index = index
        self._unchanged = None if unchanged is None else ref(unchanged)

    @property
    def unchanged(self) -> Callable[[], bool] | None:
        """What tells whether the variables are bound as they were; None if there are none."""
        if self._unchanged is None:
            return None
        return self._unchanged() or _changed

    def is_current(self) -> bool:
        """Whether the variables are bound as they were."""
        reference = self._unchanged
        if reference is None:
            return True
        unchanged = reference()
        return unchanged is not None and unchanged()


def _changed() -> bool:
    return False


class Enrolled(NamedTuple):
    """A function that was made known.

    Attributes:
        function: The index that the function travels by.
        operation: The `Operation` that its tokens count as (which core processes do not load).
        version: What keeps the function known.
    """

    function: int
    operation: Any
    version: Version
