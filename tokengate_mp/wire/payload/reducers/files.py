"""Open files: the standard streams are each process's own, all others are refused."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any


def reduce_text_file(file: io.TextIOWrapper) -> tuple[Any, ...]:
    """Reduce a standard stream to its name.

    Raises:
        pickle.PicklingError: The file is none of the standard streams.
    """
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise pickle.PicklingError(
        f"an open file ({file.name!r}) belongs to the process that opened it; pass its name, and "
        "open it inside the function"
    )
