"""Running the initializer, before the process takes its first token.

The initializer comes packed, in a file that every process of a coordinator inherits (see
`wire.protocol.initializer`). Should it raise, the process tells the parent what, and ends: it would
be the same in the next process.
"""

from __future__ import annotations

import os
from typing import Final

from tokengate_mp.wire.protocol.control import UNINITIALIZED
from tokengate_mp.wire.protocol.failures import failure
from tokengate_mp.wire.protocol.initializer import unpack_initializer
from tokengate_mp.wire.protocol.records import Failure, decode_failure, encode

_LAST_WORDS: Final = 1 << 16
"""A failure longer than this, bytes, goes by its text alone: a socket's buffer has to hold it."""


def initialize(fd: int, control: int) -> None:
    """Run the initializer in a file; should that raise, end the process with `UNINITIALIZED`.

    Args:
        fd: The file's descriptor, which other processes read from as well. It is closed.
        control: Socket that takes the failure.
    """
    try:
        unpack_initializer(_content(fd))()
    except BaseException as error:  # noqa: BLE001 - a user's code may raise anything
        words = failure(error)
        if len(words) > _LAST_WORDS:
            said = decode_failure(words)
            length = _LAST_WORDS // 16
            words = encode(
                Failure(b"", said.type_name, said.message[:length], said.traceback[-length:])
            )
        os.write(control, words)
        os._exit(UNINITIALIZED)


def _content(fd: int) -> bytes:
    # Not by read(): all processes share one position in the file.
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    os.close(fd)
    return content
