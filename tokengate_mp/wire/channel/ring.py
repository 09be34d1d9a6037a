"""A ring of bytes with one writer and one reader, in two processes.

The writer appends records and then *publishes*: one store of one aligned word, `HEAD`, that says
how far it has written and how many records that makes. The reader takes everything between what it
has read and the head, in one piece, copies it, and stores the head it has read up to in `TAIL`;
only then may the writer use the space again. Each word has one writer, so there is no lock, and a
process that dies at any point leaves the ring as it was after its last publish: half a record is
never seen.

    HEAD = position | records << 32     stored by the writer; both count for ever, modulo 2**32
    TAIL = the last HEAD that was read  stored by the reader

The byte at a position is at that position modulo the size, a power of two. HEAD == TAIL is an empty
ring; positions that differ by the size are a full one. Neither is ever mistaken for the other, nor
a ring that went round for one that did not move, since what lies between the two is never more
than the size, far below 2**32.

Tearing. A word is stored and loaded by a `memoryview` of format "Q", which copies eight aligned
bytes in one go. On a 64-bit machine that is one load or store, and nobody sees half of it. (With
a byte order, `struct` would go byte by byte; a 32-bit interpreter, in two halves: see `mailbox`.)

Order (see `ordering`). Four pairs of operations have to stay in order: the numbers below are at the
lines that they speak of.

    1  writer: bytes, then HEAD         x86-64 keeps stores in order, those of memcpy included
    2  reader: HEAD, then bytes         x86-64 keeps loads in order
    3  reader: bytes, then TAIL         x86-64 never does a store before an older load
    4  writer: TAIL, then bytes         (the same; and the store is only done if the load allows it)

On other CPUs 1 and 2 do not hold. There, rings are *checked*: each publish ends with the CRC-32 of
the whole stream so far, as one more record, a msgpack integer of five bytes. The reader computes it
over what it has copied, and as long as it is not what those bytes say, some are not there yet, and
it looks again later. "So far" matters: what a place in the ring held a lap ago may be well-formed
and even have had a checksum, but not the one that is expected now. 3 and 4 hold on every CPU, where
the store depends on what was loaded: 3 depends on the checksum, 4 on there being room.
"""

from __future__ import annotations

import struct
from typing import Final
from zlib import crc32

from tokengate_mp.errors import WireError

_MASK: Final = (1 << 32) - 1
_SEAL: Final = struct.Struct(">BI")
_UINT32: Final = 0xCE
"""msgpack's mark of an unsigned 32-bit integer."""


class RingWriter:
    """The writing end.

    Args:
        data: The bytes of the ring.
        words: The control words, as unsigned 64-bit integers.
        head: Which of the words is HEAD.
        tail: Which of the words is TAIL.
        checked: Whether to write checksums.

    Attributes:
        size: How many bytes the ring holds.
        part_limit: The longest record that should be written in one piece. With a quarter of the
            ring as the longest, there is room again long before the reader has read everything.
    """

    __slots__ = (
        "_crc",
        "_data",
        "_free",
        "_head",
        "_position",
        "_records",
        "_seal",
        "_tail",
        "_words",
        "part_limit",
        "size",
    )

    def __init__(
        self, data: memoryview, words: memoryview, head: int, tail: int, *, checked: bool
    ) -> None:
        self.size = _size_of(data)
        self.part_limit = self.size // 4
        self._data = data
        self._words = words
        self._head = head
        self._tail = tail
        self._seal = _SEAL.size if checked else 0
        self._crc = 0
        self._position = words[head] & _MASK
        self._records = words[head] >> 32
        self._free = 0

    def append_records(self, stream: bytes, records: int) -> bool:
        """Append whole records and publish, or return False, and nothing done, if there is no room.

        Args:
            stream: The records, one after the other.
            records: How many they are.

        Raises:
            WireError: They are longer than the ring could ever hold.
        """
        seal = self._seal
        length = len(stream) + seal
        if length > self._free and not self._has_room(length):
            return False
        if seal:
            stream = self._sealed(stream)
            records += 1
        position = self._position
        start = position & (self.size - 1)
        end = start + length
        if end <= self.size:
            self._data[start:end] = stream
        else:
            cut = self.size - start
            self._data[start:] = stream[:cut]
            self._data[: end - self.size] = stream[cut:]
        self._free -= length
        self._position = position = (position + length) & _MASK
        self._records = records = (self._records + records) & _MASK
        # Order 1: publishing. Everything above is there before this is.
        self._words[self._head] = position | records << 32
        return True

    def _has_room(self, length: int) -> bool:
        """Load the reader's position. Only when needed: its cache line is the reader's."""
        # Order 4: the space that this load finds free is written to afterwards.
        self._free = self.size - ((self._position - self._words[self._tail]) & _MASK)
        if length > self.size:
            raise WireError(f"{length} bytes do not fit a ring of {self.size}")
        return length <= self._free

    def _sealed(self, stream: bytes) -> bytes:
        crc = crc32(stream, self._crc)
        seal = _SEAL.pack(_UINT32, crc)
        self._crc = crc32(seal, crc)
        return stream + seal


class RingReader:
    """The reading end; arguments as for `RingWriter`."""

    __slots__ = ("_checked", "_crc", "_data", "_head", "_seen", "_size", "_tail", "_words")

    def __init__(
        self, data: memoryview, words: memoryview, head: int, tail: int, *, checked: bool
    ) -> None:
        self._size = _size_of(data)
        self._data = data
        self._words = words
        self._head = head
        self._tail = tail
        self._checked = checked
        self._crc = 0
        self._seen = words[tail]

    def pending(self) -> bool:
        """Whether records were published that have not been read."""
        return self._words[self._head] != self._seen

    def count(self) -> int:
        """Return how many records were published and not read, including checksums."""
        return ((self._words[self._head] >> 32) - (self._seen >> 32)) & _MASK

    def read(self) -> tuple[int, bytes] | None:
        """Read all published records: return their number and their bytes; None if there are none.

        In a checked ring also None while the bytes are not all there yet (`pending()` stays true),
        and the checksums are among the records, as integers.

        Raises:
            WireError: The head makes no sense.
        """
        head, seen = self._words[self._head], self._seen
        if head == seen:
            return None
        length = (head - seen) & _MASK
        records = ((head >> 32) - (seen >> 32)) & _MASK
        if not 0 < records <= length <= self._size:
            raise WireError(
                f"{records} records in {length} bytes were published in a ring of {self._size}"
            )
        start = seen & (self._size - 1)
        end = start + length
        # Order 2: what is copied here was written before the head that was loaded above.
        if end <= self._size:
            stream = bytes(self._data[start:end])
        else:
            stream = bytes(self._data[start:]) + bytes(self._data[: end - self._size])
        if self._checked and not self._is_complete(stream):
            return None
        self._seen = head
        # Order 3: the space is free again, and its bytes are copied.
        self._words[self._tail] = head
        return records, stream

    def _is_complete(self, stream: bytes) -> bool:
        body, seal = stream[: -_SEAL.size], stream[-_SEAL.size :]
        crc = crc32(body, self._crc)
        if seal != _SEAL.pack(_UINT32, crc):
            return False
        self._crc = crc32(seal, crc)
        return True


def _size_of(data: memoryview) -> int:
    size = len(data)
    if size == 0 or size & (size - 1):
        raise ValueError(f"the size of a ring is a power of two, not {size}")
    return size
