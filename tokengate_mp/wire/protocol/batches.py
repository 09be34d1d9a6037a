"""What comes of a batch: the results of many calls that one token made.

Each value is as it would be in an outcome of its own, so that one that cannot be sent or loaded
fails one item. It is the token's result, as bytes.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tokengate_mp.errors import WireError
from tokengate_mp.wire.payload.msgpack import decoder, encode

RANGE: Final = 0
"""In place of how many arguments each call takes: one, and the items are those of a range."""


class BatchOutcome(msgspec.Struct, array_like=True):
    """Core to parent: the outcomes of the items of a batch.

    Attributes:
        nanoseconds: How long all the calls took.
        values: For each item its result, or bytes.
        pickled: Which values are pickles of results, by their index.
        raised: Which values are encoded failures, by their index.
    """

    nanoseconds: int
    values: list[Any]
    pickled: list[int]
    raised: list[int]

    def first(self, count: int) -> BatchOutcome:
        """Drop all but the first `count` items, and return the outcome itself.

        Those that were cut off from a batch are done elsewhere. But it is sent as it was, should it
        be lost with its process and run again.
        """
        if count < len(self.values):
            del self.values[count:]
            self.pickled = [index for index in self.pickled if index < count]
            self.raised = [index for index in self.raised if index < count]
        return self


encode_batch = encode
_decode = decoder(BatchOutcome)


def decode_batch(record: bytes) -> BatchOutcome:
    """Decode a `BatchOutcome`.

    Raises:
        WireError: The bytes are none, or it speaks of items that it does not have.
    """
    batch = _decode(record)
    values = batch.values
    for index in (*batch.pickled, *batch.raised):
        if not (0 <= index < len(values) and isinstance(values[index], bytes)):
            raise WireError(f"of {len(values)} items, number {index} is not there as bytes")
    return batch
