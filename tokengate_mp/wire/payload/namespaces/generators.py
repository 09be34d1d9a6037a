"""Random generators in global variables: every core process would draw the same numbers."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any, Final

_GENERATORS: Final = {
    ("random", "Random"),
    ("numpy.random._generator", "Generator"),
    ("numpy.random.mtrand", "RandomState"),
}

_HERE: Final = ("tokengate_mp.", "cloudpickle", "pickle")


def warn_of_generator(name: str, value: Any) -> None:
    """Warn if a global variable that is about to travel is a random generator.

    Whether it was seeded cannot be told, and both are copied as they are.
    """
    kind = type(value)
    if (kind.__module__, kind.__qualname__) in _GENERATORS:
        warnings.warn(
            f"the global variable {name!r} is a random generator, of which each core process gets "
            "a copy: all of them draw the same numbers. Bind it in an `initializer`, which runs in "
            "each process, or pass a seed with each call",
            RuntimeWarning,
            stacklevel=_levels(sys._getframe(1)),  # noqa: SLF001 - the documented way
        )


def _levels(frame: FrameType | None) -> int:
    """How far up the line is that made the call."""
    levels = 2
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_HERE):
        frame, levels = frame.f_back, levels + 1
    return levels
