"""The frames of output, as the parent takes them out of the pipe (see `output`)."""

from __future__ import annotations

from typing import NamedTuple

from tokengate_mp.errors import WireError
from tokengate_mp.wire.protocol.output import FRESH, HEADER, KINDS, LAST, TEXT


class Frame(NamedTuple):
    """A piece of a message.

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


class Frames:
    """Cuts the bytes that come out of a pipe into frames."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def take_apart(self, data: bytes) -> list[Frame]:
        """Take in bytes; return the frames that are complete now.

        Raises:
            WireError: The bytes are no frames.
        """
        data = self._rest + data
        found: list[Frame] = []
        at = 0
        while len(data) - at >= HEADER.size:
            length, mark, process, thread = HEADER.unpack_from(data, at)
            kind = mark & ~(FRESH | LAST)
            if length > TEXT or kind not in KINDS:
                raise WireError("a core process wrote something that is no frame of output")
            end = at + HEADER.size + length
            if end > len(data):
                break
            text = data[at + HEADER.size : end]
            fresh, last = bool(mark & FRESH), bool(mark & LAST)
            found.append(Frame(kind, (process, thread), fresh, last, text))
            at = end
        self._rest = data[at:]
        return found
