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
    """Core to parent: what became of the items of a batch.

    Attributes:
        nanoseconds: How long all the calls took.
        values: For each item its result, or bytes.
        pickled: Which values are pickles of results, by their place.
        raised: Which values are encoded failures, by their place.
    """

    nanoseconds: int
    values: list[Any]
    pickled: list[int]
    raised: list[int]

    def first(self, count: int) -> BatchOutcome:
        """Itself, without what it holds beyond the first so many items.

        Those that were cut off from a batch are done elsewhere. But it is sent as it was, should it
        be lost with its process and run again.
        """
        if count < len(self.values):
            del self.values[count:]
            self.pickled = [place for place in self.pickled if place < count]
            self.raised = [place for place in self.raised if place < count]
        return self


encode_batch = encode
_decode = decoder(BatchOutcome)


def decode_batch(record: bytes) -> BatchOutcome:
    """A `BatchOutcome` of its bytes.

    Raises:
        WireError: They are none, or it speaks of items that it does not have.
    """
    batch = _decode(record)
    values = batch.values
    for place in (*batch.pickled, *batch.raised):
        if not (0 <= place < len(values) and isinstance(values[place], bytes)):
            raise WireError(f"of {len(values)} items, number {place} is not there as bytes")
    return batch
