"""A large object that calls of an operation take again and again, and that is stored each time."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final
from weakref import ref

from tokengate_mp.wire.arena.arena import Block
from tokengate_mp.wire.payload.attachments import AttachedPickle

LEAST: Final = 1 << 20
"""From so many bytes on that are stored anew for a call it is worth a word."""

PATIENCE: Final = 3
"""So many calls in a row with the same object are stored anew before anything is said."""

_HERE: Final = f"{__name__.partition('.')[0]}."


class Repetition:
    """Warns, once an operation, of a large object that many waiting calls store each for itself.

    (It was changed between them: what stays as it is lies there once, for all of them.)

    Args:
        operation_type: The operation, for the warning.
    """

    __slots__ = ("_before", "_block", "_count", "_operation_type", "_warned")

    def __init__(self, operation_type: str) -> None:
        self._operation_type = operation_type
        self._before: list[ref[Any]] = []
        self._block: Callable[[], Block | None] = _no_block
        self._count = 0
        self._warned = False

    def look(self, pickled: AttachedPickle, arguments: Iterable[Any]) -> None:
        """Look at a call that was encoded.

        Args:
            pickled: The encoded arguments.
            arguments: The arguments.
        """
        if self._warned or pickled.written < LEAST:
            return
        # By weak references: an id may be that of another object by now.
        before = [known() for known in self._before]
        known_by_reference = [each for each in arguments if type(each).__weakrefoffset__]
        large = [each for each in known_by_reference if _size(each) >= LEAST]
        waits = self._block() is not None
        again = waits and any(each is other for each in large for other in before)
        self._count = self._count + 1 if again else 0
        self._before = list(map(ref, large))
        blocks = [each for each in pickled.attachments if isinstance(each, Block)]
        self._block = ref(blocks[-1]) if blocks else _no_block
        if self._count >= PATIENCE:
            self._warned = True
            warnings.warn(
                f"{self._operation_type!r} is called again and again with one large object, which "
                f"is changed between the calls: {pickled.written:,} bytes are stored for each call "
                "that waits. If calls may see one state of it, share that, and pass the handle: "
                "`handle = coordinator.share(value)`",
                stacklevel=_levels(sys._getframe(1)),  # noqa: SLF001 - the documented way
            )


def _no_block() -> None:
    return None


def _size(value: Any) -> int:
    """Bytes of an array or a frame; 0 for what does not say."""
    size = getattr(value, "nbytes", None)
    if size is None:
        usage = getattr(value, "memory_usage", None)
        size = usage().sum() if callable(usage) else 0
    return int(size) if isinstance(size, int) or hasattr(size, "__index__") else 0


def _levels(frame: FrameType | None) -> int:
    """How far up the line is that made the call."""
    levels = 2
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_HERE):
        frame, levels = frame.f_back, levels + 1
    return levels
