"""The journal: a file in which every process of a soak notes what happens to which token.

A note is one record of fixed size, appended by one write to a descriptor opened with O_APPEND. The
kernel does that whole or not at all, and in one order for all processes: a note is there as soon as
`write` returns, whatever becomes of the process, and none is torn. So a note that was made before
something could have its consequences stands before the notes of those.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import cache
from pathlib import Path
from struct import Struct
from time import monotonic_ns
from typing import Final, NamedTuple


class Event(IntEnum):
    """Kinds of note."""

    MADE = 1
    BEGUN = 2
    RETURNED = 3
    RAISED = 4
    ENDED = 5
    SHOT = 6


class End(IntEnum):
    """End of a token, as its awaiting caller saw the end."""

    VALUE = 1
    LOST = 2
    KILLED = 3
    CANCELLED = 4
    TIMED_OUT = 5
    FAILED = 6
    NEEDED = 7
    OTHER = 8


class Note(NamedTuple):
    """A record of the journal.

    Attributes:
        number: The token's number in the soak, from 1; 0 for SHOT.
        value: MADE: the token that made it, or 0; RETURNED: the result; ENDED: the result, and for
            LOST the number that the engine gave to the token that was lost.
        pid: The process that the note is about: that which runs the token; for SHOT the one that
            is about to be killed; for LOST the one that died.
        event: What happened.
        what: MADE: the `load.Kind` of the token; ENDED: an `End`.
        time: When it was noted, monotonic ns.
    """

    number: int
    value: int
    pid: int
    event: int
    what: int = 0
    time: int = 0


_RECORD: Final = Struct("<QQQIBBxx")
_CHUNK: Final = _RECORD.size * 4096


@cache
def _descriptor(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def write(path: str, note: Note) -> None:
    """Append a note, with the present time; from any process.

    Raises:
        OSError: It cannot be written, or not whole, as on a full disk.
    """
    number, value, pid, event, what, _ = note
    record = _RECORD.pack(number, value, monotonic_ns(), pid, event, what)
    if os.write(_descriptor(path), record) != len(record):
        raise OSError(f"the journal {path} took only a part of a note: is its disk full?")


def close(path: str) -> None:
    """Close the process's descriptor of the journal; no other journal may be in use."""
    os.close(_descriptor(path))
    _descriptor.cache_clear()


def forge(path: Path, notes: Iterable[Note]) -> None:
    """Write a journal of events that never happened, to examine an auditor with."""
    path.write_bytes(
        b"".join(_RECORD.pack(n.number, n.value, n.time, n.pid, n.event, n.what) for n in notes)
    )


def read(path: str | Path) -> Iterator[Note]:
    """The notes of a journal, in the order of making.

    Raises:
        ValueError: The file does not consist of whole notes.
    """
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            if len(chunk) % _RECORD.size:
                raise ValueError(f"the journal {path} ends in the middle of a note")
            for number, value, time, pid, event, what in _RECORD.iter_unpack(chunk):
                yield Note(number, value, pid, event, what, time)
