"""Functions that enclose what each process has its own of, such as a lock."""

from __future__ import annotations

import threading
from types import FunctionType
from typing import Final

_OWN: Final = (type(threading.Lock()), type(threading.RLock()), threading.local)


def refuse_enclosed(function: object) -> None:
    """Refuse a function that was made within another one and encloses a lock, or the like.

    A global variable of a script may hold one: each process has its own, as each would that runs
    the script. What a function encloses belongs to the call that made it, as arguments do.

    Raises:
        TypeError: The function does.
    """
    if type(function) is not FunctionType or "<locals>" not in function.__qualname__:
        return
    names = function.__code__.co_freevars
    for name, cell in zip(names, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # it is empty
            continue
        if isinstance(value, _OWN):
            kind = type(value).__name__
            raise TypeError(f"cannot pickle {kind!r} object: the enclosed variable {name!r}")
