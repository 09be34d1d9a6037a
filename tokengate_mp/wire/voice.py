"""A voice: what a core process prints and logs, on its way to the parent.

It is a pipe of its own for each incarnation, apart from the mailbox: what is said there must
neither wait for outcomes nor keep them waiting, and processes that a token forks may speak too.
What travels is cut into *frames* no longer than the kernel writes in one piece, whoever else
writes. So there is no lock, nobody's words are torn, and whatever was written before a SIGKILL is
there.

    frame:  | bytes of text | kind | process | thread | text … |

A frame of printed text carries the next bytes of what its thread has to say there. A record of
`logging` is one message, an encoded dict of its attributes, whose last frame says that it is.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tokengate_mp.errors import WireError

# What a frame carries:
OUT: Final = 1
ERR: Final = 2
LOG: Final = 3

FRESH: Final = 16
"""Flag: this continues nothing. If its thread has begun something, it will never be finished."""

LAST: Final = 32
"""Flag: the message ends here."""

PICKLED: Final = 1
"""Code of a msgpack extension: an attribute of a log record that had to be pickled."""

_HEADER: Final = struct.Struct("=HBIQ")
_KINDS: Final = (OUT, ERR, LOG)
_TEXT: Final = select.PIPE_BUF - _HEADER.size
"""The most bytes of text in a frame."""

PIPE_BYTES: Final = 1 << 18
"""How much may be on its way from one process, where the system lets a pipe hold that much.

With 256 cores it is, for all of them, what an ordinary user may have in pipes (64 MiB).
"""


class Frame(NamedTuple):
    """A piece of what a thread says.

    Attributes:
        kind: OUT, ERR or LOG.
        speaker: The process and the thread.
        fresh: Whether it continues nothing.
        last: Whether the message ends here.
        text: The piece.
    """

    kind: int
    speaker: tuple[int, int]
    fresh: bool
    last: bool
    text: bytes


def frames(kind: int, process: int, thread: int, text: bytes, *, fresh: bool) -> Iterable[bytes]:
    """The frames that a message travels as.

    Args:
        kind: OUT, ERR or LOG.
        process: Whose it is.
        thread: The thread.
        text: The message.
        fresh: Whether it continues nothing.
    """
    mark = kind | FRESH if fresh else kind
    if len(text) <= _TEXT:
        return (_HEADER.pack(len(text), mark | LAST, process, thread) + text,)
    return _pieces(kind, mark, process, thread, text)


def _pieces(kind: int, mark: int, process: int, thread: int, text: bytes) -> Iterator[bytes]:
    for start in range(0, len(text), _TEXT):
        piece = text[start : start + _TEXT]
        if start + _TEXT >= len(text):
            mark |= LAST
        yield _HEADER.pack(len(piece), mark, process, thread) + piece
        mark = kind


class Frames:
    """Takes what comes out of a pipe apart."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def add(self, data: bytes) -> list[Frame]:
        """The frames that are whole with this.

        Raises:
            WireError: These are none.
        """
        data = self._rest + data
        found: list[Frame] = []
        at = 0
        while len(data) - at >= _HEADER.size:
            length, mark, process, thread = _HEADER.unpack_from(data, at)
            kind = mark & ~(FRESH | LAST)
            if length > _TEXT or kind not in _KINDS:
                raise WireError("a core process wrote something that is no frame of a voice")
            end = at + _HEADER.size + length
            if end > len(data):
                break
            text = data[at + _HEADER.size : end]
            fresh, last = bool(mark & FRESH), bool(mark & LAST)
            found.append(Frame(kind, (process, thread), fresh, last, text))
            at = end
        self._rest = data[at:]
        return found
