"""Output: what a core process prints and logs, on its way to the parent.

It has a pipe of its own for each incarnation, apart from the mailbox: output must neither wait for
outcomes nor keep them waiting, and processes that a token forks may print and log too. What travels
is cut into *frames* no longer than the kernel writes in one piece, whoever else writes. So there is
no lock, nobody's words are torn, and whatever was written before a SIGKILL is there.

    frame:  | bytes of text | kind | process | thread | text … |

A frame of printed text carries the next bytes of what its thread has to say there. A record of
`logging` is one message, an encoded dict of its attributes, whose last frame says that it is.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Iterable, Iterator
from typing import Final

# What a frame carries:
OUT: Final = 1
ERR: Final = 2
LOG: Final = 3

FRESH: Final = 16
"""Flag: this continues nothing. If its thread has begun something, it will never be finished."""

LAST: Final = 32
"""Flag: the message ends here."""

PICKLED_ATTRIBUTE: Final = 1
"""Code of a msgpack extension: an attribute of a log record that had to be pickled."""

HEADER: Final = struct.Struct("=HBIQ")
"""Of a frame: see above."""

KINDS: Final = (OUT, ERR, LOG)
"""All there are."""

TEXT: Final = select.PIPE_BUF - HEADER.size
"""The most bytes of text in a frame."""

PIPE_BYTES: Final = 1 << 18
"""How much may be on its way from one process, where the system lets a pipe hold that much.

With 256 cores it is, for all of them, what an ordinary user may have in pipes (64 MiB).
"""


def frames(kind: int, process: int, thread: int, text: bytes, *, fresh: bool) -> Iterable[bytes]:
    """Cut a message into frames.

    Args:
        kind: OUT, ERR or LOG.
        process: The process whose message it is.
        thread: The thread.
        text: The message.
        fresh: Whether it continues nothing.
    """
    mark = kind | FRESH if fresh else kind
    if len(text) <= TEXT:
        return (HEADER.pack(len(text), mark | LAST, process, thread) + text,)
    return _pieces(kind, mark, process, thread, text)


def _pieces(kind: int, mark: int, process: int, thread: int, text: bytes) -> Iterator[bytes]:
    for start in range(0, len(text), TEXT):
        piece = text[start : start + TEXT]
        if start + TEXT >= len(text):
            mark |= LAST
        yield HEADER.pack(len(piece), mark, process, thread) + piece
        mark = kind
