"""Pending calls: encoded calls with something more to them than their record.

Most calls are a record and nothing else. Those that want something of the scheduler besides, or
whose record cannot be finished before other tokens have ended, come as a `PendingCall`, and are
dealt with apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from tokengate_mp.errors import PayloadError
from tokengate_mp.wire.payload import fingerprint
from tokengate_mp.wire.payload.attachments import AttachedRecord, attached, attachments_of, size_of
from tokengate_mp.wire.payload.buffers import content, writable
from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS, dumps, to_pickle
from tokengate_mp.wire.payload.pickle_format import PROTOCOL
from tokengate_mp.wire.payload.placeholders import Encoded, Filled, Needed
from tokengate_mp.wire.protocol.records import CHAINED, MAX_PAYLOAD, encode

WORTH_GOING: Final = 4096
"""A value of no more bytes than this is carried faster than a core is chosen for it."""

_MARGIN: Final = 1 << 16
"""More than what a pickle of values needs besides their bytes, for some thousands of them."""


class PendingCall:
    """A call that is complete, with its wishes for a core.

    Args:
        record: The request.
        key: The content key that it shares a core with (see `fingerprint`); None: with nobody.
        keep: How long its key stays pinned after its last token, ns.

    Attributes:
        needs: The tokens whose values are to be filled in.
        home: The core that made the largest of the values, if one is worth going to; else 0.
        chain: The lead and the seed of the chain that it was made in; None outside of one.
    """

    __slots__ = ("keep", "key", "record")

    needs: Sequence[Needed] = ()
    home = 0
    chain: tuple[int, str] | None = None

    def __init__(
        self, record: bytes | AttachedRecord, key: bytes | None = None, keep: int = 0
    ) -> None:
        self.record = record
        self.key = key
        self.keep = keep

    def __len__(self) -> int:
        """Bytes of the arguments, without the values still to come."""
        return len(self.record)

    def travelling(self) -> tuple[Any, ...]:
        """Return the parts by which a core process tells the parent of a call made there."""
        return self.record, 0, b"", (), None, self.key, self.keep, False

    def complete(self) -> bytes | AttachedRecord:
        """Return the request.

        Raises:
            Exception: What encoding raises.
        """
        return self.record


class PlaceholderCall(PendingCall):
    """A call that needs the values of tokens.

    Args:
        number: Its token's number.
        function: The function's index.
        arguments: Positional arguments, of scalars where there is no placeholder; or a pickle of
            positional and keyword arguments (see `placeholders`).
        needs: The tokens, each with its position: in the list, or the number of its placeholder.
        writable: Whether the function is to get what is large as copies that it can change.

    Attributes:
        anchor: What its key is to be made with, once they are there; None for nothing.
    """

    __slots__ = (
        "_arguments",
        "_function",
        "_largest",
        "_number",
        "_positions",
        "_size",
        "_values",
        "_writable",
        "anchor",
        "chain",
        "home",
        "needs",
    )

    def __init__(
        self,
        number: int,
        function: int,
        arguments: list[Any] | bytes,
        needs: Iterable[tuple[int, Needed]],
        *,
        writable: bool = False,
    ) -> None:
        super().__init__(b"")
        self._number = number
        self._function = function
        self._arguments = arguments
        pairs = list(needs)
        self._positions = [position for position, _ in pairs]
        self.needs: Sequence[Needed] = [need for _, need in pairs]
        self._values: list[Any] = [None] * len(pairs)
        self._size = _MARGIN + (len(arguments) if isinstance(arguments, bytes) else 0)
        self._largest = WORTH_GOING
        self.home = 0
        self.chain: tuple[int, str] | None = None
        self.anchor: str | None = None
        self._writable = writable

    def __len__(self) -> int:
        """Bytes of the arguments, without the values still to come."""
        return 0 if isinstance(self._arguments, list) else len(self._arguments)

    def travelling(self) -> tuple[Any, ...]:
        """Return the parts by which a core process tells the parent of a call made there."""
        numbers = [need.number for need in self.needs]
        positions = list(zip(self._positions, numbers, strict=True))
        content_key = self.anchor, self.key, self.keep
        return b"", self._function, self._arguments, positions, *content_key, self._writable

    def fill(self, at: int, value: object, core: int | None) -> None:
        """Fill in the value of a token among `needs`.

        Args:
            at: Which of `needs`.
            value: A scalar, or the value `Encoded`.
            core: The core that it was made on.

        Raises:
            PayloadError: The call takes more bytes with it than can travel.
        """
        size = aside = 0
        if isinstance(value, Encoded):
            size = len(value.pickled)
            aside = size_of(attachments_of(value.pickled))
        elif isinstance(value, (str, bytes)):
            size = len(value)
        self._size += size
        if size + aside > self._largest:
            self._largest = size + aside
            self.home = core or 0
        if self._size > MAX_PAYLOAD:
            raise PayloadError(
                f"the arguments take more than {MAX_PAYLOAD - _MARGIN} bytes with the values of "
                "the tokens among them; let those write files and return their names"
            )
        self._values[at] = value

    def complete(self) -> bytes | AttachedRecord:
        """Return the request, now that all values are there.

        Raises:
            Exception: What encoding raises.
        """
        record = self._completed()
        if self.chain is None:
            return record
        number = self._number
        if not isinstance(record, AttachedRecord):
            return encode((number, CHAINED, encode((*self.chain, record))))
        chained = encode((number, CHAINED, encode((*self.chain, record.record))))
        return AttachedRecord(chained, record.attachments, record.written)

    def _completed(self) -> bytes | AttachedRecord:
        arguments = self._arguments
        payloads = [each.pickled for each in self._values if isinstance(each, Encoded)]
        if isinstance(arguments, list):
            filled = self._listed(arguments)
            if SCALARS.issuperset(map(type, filled)):
                try:
                    return encode((self._number, self._function, filled))
                except NOT_MSGPACK:
                    pass
            pickled = dumps((tuple(filled), {}), PROTOCOL)
        else:
            pickled = dumps(Filled(arguments, self._values), PROTOCOL)
            payloads.append(arguments)
        if self._writable:
            pickled = writable(pickled)
        return attached(encode((self._number, self._function, pickled)), *payloads)

    def make_key(self) -> None:
        """Make the content key, now that all values are there."""
        if self.anchor is None or self.key is not None:
            return
        arguments = self._arguments
        if isinstance(arguments, list):
            filled = self._listed(arguments)
            if SCALARS.issuperset(map(type, filled)):
                self.key = fingerprint.key(self.anchor, tuple(filled), {})
                return
            arguments = b""
        parts: list[bytes | memoryview] = [self.anchor.encode("utf-8", "surrogatepass")]
        for value in (arguments, *self._values):
            part = value.pickled if isinstance(value, Encoded) else value
            for piece in content(part if isinstance(part, bytes) else to_pickle(part)):
                # Its length first: where one ends and the next begins is content too.
                parts += [len(piece).to_bytes(8, "big"), piece]
        self.key = b"=" + fingerprint.digest(*parts)

    def _listed(self, arguments: list[Any]) -> list[Any]:
        filled = list(arguments)
        for position, value in zip(self._positions, self._values, strict=True):
            filled[position] = value
        return filled


def received_call(
    number: int, travelled: Iterable[Any], find: Callable[[int], Needed]
) -> PendingCall:
    """Make the pending call of the parts that `PendingCall.travelling` gave in a core process.

    Args:
        number: Its token's number.
        travelled: The parts.
        find: Gives the tokens that it needs, by their numbers.
    """
    record, function, arguments, positions, anchor, key, keep, changeable = travelled
    if record:
        return PendingCall(record, key, keep)
    needs = [(position, find(needed)) for position, needed in positions]
    pending_call = PlaceholderCall(number, function, arguments, needs, writable=changeable)
    pending_call.anchor, pending_call.key, pending_call.keep = anchor, key, keep
    return pending_call
