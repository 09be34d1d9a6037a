"""What each core process runs before it takes its first token, if it was told to.

It comes through a file without a name, which every process of a coordinator inherits, those that
replace others too. Should it raise, the process tells the parent what, and ends: it would be the
same in the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from tokengate_mp.errors import PayloadError, summary
from tokengate_mp.wire.payload.codec import PROTOCOL, dumps, loads, to_pickle
from tokengate_mp.wire.payload.definition import define, resolve
from tokengate_mp.wire.protocol.records import Failure, decode_failure, encode
from tokengate_mp.worker.run.invoke import failure

UNINITIALIZED: Final = 72
"""Exit code of a core process whose initializer raised."""

_LAST_WORDS: Final = 1 << 16
"""A failure longer than this, bytes, goes by its text alone: a socket's buffer has to hold it."""


def pack(initializer: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """An initializer and its arguments as bytes, for `initialize`.

    Raises:
        PayloadError: They cannot be sent.
    """
    try:
        return dumps((define(initializer), to_pickle(arguments)), PROTOCOL)
    except Exception as error:
        raise PayloadError(
            f"the initializer or its arguments cannot be sent to a core process: {summary(error)}. "
            "Pass what they are made from instead, and build it in the initializer."
        ) from error


def with_authkey(authkey: bytes, packed: bytes) -> bytes:
    """An initializer that first lets its process open what multiprocessing's managers serve.

    Args:
        authkey: The parent's key.
        packed: The initializer that follows, from `pack`; empty for none.
    """
    return pack(_adopt, (authkey, packed))


def _adopt(authkey: bytes, packed: bytes) -> None:
    from multiprocessing.process import current_process  # noqa: PLC0415 - ms, seldom needed

    current_process().authkey = authkey
    if packed:
        _run(packed)


def _run(packed: bytes) -> None:
    definition, arguments = loads(packed)
    resolve(definition)(*loads(arguments))


def initialize(fd: int, control: int) -> None:
    """Run what a file holds; where that raises, this process ends with `UNINITIALIZED`.

    Args:
        fd: The file's descriptor, which other processes read from as well. It is closed.
        control: Socket that takes the failure.
    """
    try:
        _run(_content(fd))
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
