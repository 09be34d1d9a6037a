"""A ring of bytes with one writer and one reader, in two processes.

The writer appends records and then *publishes*: one store of one aligned word, `HEAD`, that says
how far it has written and how many records that makes. The reader takes everything between its own
position and the head, in one piece, copies it, and stores its position in `TAIL`; only then may the
writer use the space again. Each word has one writer, so there is no lock, and a process that dies
at any point leaves the ring as it was after its last publish: half a record is never seen.

    HEAD = position | records << 32        (written by the writer; both modulo 2**32)
    TAIL = position                        (written by the reader)

Positions grow for ever modulo 2**32; the byte at position p is at p modulo the size, a power of two.

Order of memory operations. x86-64 lets other CPUs see stores in program order, and a load never
passes an older load; so what was written before HEAD is there once HEAD is. Other CPUs promise
nothing of the kind, and pure Python cannot ask them to. There, both sides work *checked*: each
publish is followed in the stream by the CRC-32 of the stream so far, as a msgpack integer of five
bytes. The reader computes it over what it copied, up to the last five bytes, and if it is not what
those say, some of the bytes are not there yet and it looks again. Its store to TAIL depends on the
comparison, so it cannot overtake the copying.
"""

from __future__ import annotations

import os
import platform
import struct
from typing import Final
from zlib import crc32

from tokengate_mp.errors import WireError

CHECKED_VARIABLE: Final = "TOKENGATE_MP_CHECKED"
"""Environment variable: "1" forces checked rings where the CPU does not need them."""

_MODULUS: Final = 1 << 32
_MASK: Final = _MODULUS - 1
_TRAILER: Final = struct.Struct(">BI")
_UINT32: Final = 0xCE
"""msgpack's mark of an unsigned 32-bit integer."""

_STRONGLY_ORDERED: Final = frozenset({"x86_64", "amd64", "i686", "i386"})


def must_check() -> bool:
    """Whether rings have to be checked on this machine, or are told to be."""
    forced = os.environ.get(CHECKED_VARIABLE, "0") not in ("", "0")
    return forced or platform.machine().lower() not in _STRONGLY_ORDERED


class RingWriter:
    """The writing end.

    Args:
        data: The bytes of the ring.
        words: The control words, as unsigned 64-bit integers.
        head: Which of the words is HEAD.
        tail: Which of the words is TAIL.
        checked: Whether to write checksums.
    """

    __slots__ = (
        "_checked",
        "_crc",
        "_data",
        "_free",
        "_head",
        "_position",
        "_records",
        "_tail",
        "_words",
        "part_limit",
        "size",
    )

    def __init__(
        self, data: memoryview, words: memoryview, head: int, tail: int, *, checked: bool
    ) -> None:
        self.size = len(data)
        if self.size & (self.size - 1):
            raise ValueError(f"the size of a ring is a power of two, not {self.size}")
        self.part_limit = self.size // 4
        self._data = data
        self._words = words
        self._head = head
        self._tail = tail
        self._checked = checked
        self._crc = 0
        self._position = 0
        self._records = 0
        self._free = self.size

    def write(self, stream: bytes, records: int) -> bool:
        """Append whole records and publish them; False, and nothing done, if there is no room.

        Args:
            stream: The records, one after the other.
            records: How many they are.

        Raises:
            WireError: They are longer than the ring could ever hold.
        """
        if self._checked:
            body_crc = crc32(stream, self._crc)
            trailer = _TRAILER.pack(_UINT32, body_crc)
            stream += trailer
            records += 1
        length = len(stream)
        if length > self._free:
            # The reader's position is read only when it matters: its cache line is the reader's.
            self._free = self.size - ((self._position - self._words[self._tail]) & _MASK)
            if length > self._free:
                if length > self.size:
                    raise WireError(f"{length} bytes do not fit a ring of {self.size}")
                return False
        if self._checked:
            self._crc = crc32(trailer, body_crc)
        start = self._position & (self.size - 1)
        end = start + length
        if end <= self.size:
            self._data[start:end] = stream
        else:
            cut = self.size - start
            self._data[start:] = stream[:cut]
            self._data[: end - self.size] = stream[cut:]
        self._free -= length
        self._position = (self._position + length) & _MASK
        self._records = (self._records + records) & _MASK
        # Publishing. Everything above is written before this word is.
        self._words[self._head] = self._position | self._records << 32
        return True

    def room(self) -> int:
        """How many bytes could be written now."""
        self._free = self.size - ((self._position - self._words[self._tail]) & _MASK)
        return self._free - (_TRAILER.size if self._checked else 0)


class RingReader:
    """The reading end; arguments as for `RingWriter`."""

    __slots__ = (
        "_checked",
        "_crc",
        "_data",
        "_head",
        "_position",
        "_records",
        "_seen",
        "_size",
        "_tail",
        "_words",
    )

    def __init__(
        self, data: memoryview, words: memoryview, head: int, tail: int, *, checked: bool
    ) -> None:
        self._size = len(data)
        self._data = data
        self._words = words
        self._head = head
        self._tail = tail
        self._checked = checked
        self._crc = 0
        self._position = 0
        self._records = 0
        self._seen = 0

    def pending(self) -> bool:
        """Whether something was published that has not been read."""
        return self._words[self._head] != self._seen

    def read(self) -> tuple[int, bytes] | None:
        """Everything published: how many records, and their bytes; None if there is nothing.

        In a checked ring also None while the bytes are not all visible yet (`pending()` stays
        true), and the checksums are among the records, as integers.

        Raises:
            WireError: The head makes no sense.
        """
        head = self._words[self._head]
        if head == self._seen:
            return None
        position = head & _MASK
        length = (position - self._position) & _MASK
        if length > self._size:
            raise WireError(f"{length} bytes published in a ring of {self._size}")
        start = self._position & (self._size - 1)
        end = start + length
        if end <= self._size:
            stream = bytes(self._data[start:end])
        else:
            stream = bytes(self._data[start:]) + bytes(self._data[: end - self._size])
        if self._checked and not self._complete(stream):
            return None
        records = ((head >> 32) - self._records) & _MASK
        self._position = position
        self._records = head >> 32
        self._seen = head
        # The space is free again. The bytes were copied before.
        self._words[self._tail] = position
        return records, stream

    def _complete(self, stream: bytes) -> bool:
        if len(stream) < _TRAILER.size:
            return False
        body = stream[: -_TRAILER.size]
        mark, expected = _TRAILER.unpack(stream[-_TRAILER.size :])
        crc = crc32(body, self._crc)
        if mark != _UINT32 or crc != expected:
            return False
        self._crc = crc32(stream[-_TRAILER.size :], crc)
        return True
