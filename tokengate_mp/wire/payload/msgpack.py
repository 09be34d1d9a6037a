"""msgpack as all records use it: one encoder, and decoders that raise `WireError`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from tokengate_mp.errors import WireError

_R = TypeVar("_R")

encode = msgspec.msgpack.Encoder().encode
"""Any record, or a tuple with its fields in order, as bytes."""


def decoder(kind: type[_R]) -> Callable[[bytes], _R]:
    """Make a decoder for a kind of record, which raises `WireError` at other bytes."""
    decode = msgspec.msgpack.Decoder(kind).decode

    def decode_one(record: bytes) -> _R:
        try:
            return decode(record)
        except Exception as error:
            raise WireError(f"no {kind.__name__}, by its bytes: {error}") from error

    return decode_one
