"""Objects that belong to the process that made them, and are refused.

Pickle refuses most of these by itself, with fewer words. It would take a `Connection` for a plain
object, and send the number of a descriptor: in the other process that is another descriptor, which
the copy writes to, and closes at its end.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from types import CoroutineType, FrameType, GeneratorType
from typing import Any, Final, NoReturn

from tokengate_mp.wire.payload.pickle_format import CONNECTION

_INHERITED: Final = (
    "belongs to the process that made it; give it to the core processes as one of the `initargs` "
    "of an `initializer`"
)
_FILE: Final = (
    "belongs to the process that opened it; pass its name, and open it inside the function"
)
_MAPPED: Final = (
    "belongs to the process that mapped it; pass the name of its file, or what is in it (and what "
    "`multiprocessing` shares as one of the `initargs` of an `initializer`)"
)
_PROCESS: Final = "belongs to the process that started it; start it inside the function"
_RUNNING: Final = "is half run, in this process; pass a list of what it gives"
_DATABASE: Final = "belongs to the process that opened it; connect inside the function"

_LATE: Final = (
    (CONNECTION.decode(), "Connection", "an end of a pipe", _INHERITED),
    ("socket", "socket", "a socket", _INHERITED),
    (
        "ssl",
        "SSLSocket",
        "a socket",
        "belongs to the process that opened it; connect inside the function",
    ),
    ("subprocess", "Popen", "a command that runs", _PROCESS),
    ("threading", "Thread", "a thread", _PROCESS),
    ("mmap", "mmap", "mapped memory", _MAPPED),
    ("sqlite3", "Connection", "a connection to a database", _DATABASE),
    ("sqlite3", "Cursor", "a cursor of a database", _DATABASE),
)
"""Types of modules that a program may not have loaded: module, name, what they are, what to do."""


def _refusing(what: str, advice: str) -> Callable[[Any], NoReturn]:
    def refuse(_refused: object) -> NoReturn:
        raise pickle.PicklingError(f"{what} {advice}")

    return refuse


def _refuse_file(file: Any) -> NoReturn:
    name = getattr(file, "name", None)
    raise pickle.PicklingError(f"an open file ({name!r}) {_FILE}")


REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    io.FileIO: _refuse_file,
    io.BufferedReader: _refuse_file,
    io.BufferedWriter: _refuse_file,
    io.BufferedRandom: _refuse_file,
    GeneratorType: _refusing("a generator", _RUNNING),
    CoroutineType: _refusing("a coroutine", "is half run, in this process; run it first"),
    FrameType: _refusing("a frame", "belongs to the thread that runs it"),
}
"""The reducer of each type that is always there."""


def of_loaded_modules() -> dict[type, Callable[[Any], Any]]:
    """Return the reducer of each type of a module that is loaded by now."""
    found: dict[type, Callable[[Any], Any]] = {}
    for module, name, what, advice in _LATE:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type):
            found[kind] = _refusing(what, advice)
    return found
