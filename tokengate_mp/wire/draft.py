"""Drafts: encoded calls with something more to them than their record.

Most calls are a record and nothing else. Those that want something of the scheduler besides, or
whose record cannot be finished before other tokens have ended, come as a draft, and are looked at
apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from tokengate_mp.errors import PayloadError
from tokengate_mp.wire import fingerprint
from tokengate_mp.wire.blanks import Encoded, Filled, Needed
from tokengate_mp.wire.buffers import Laden, content, laden, writable
from tokengate_mp.wire.codec import NOT_MSGPACK, PROTOCOL, SCALARS, dumps, to_pickle
from tokengate_mp.wire.records import MAX_PAYLOAD, encode

_MARGIN: Final = 1 << 16
"""More than what a pickle of values needs besides their bytes, for some thousands of them."""


class Draft:
    """A call, what it needs, and where it wants to go.

    Args:
        record: The request, if it is complete.
        key: The content key that it shares a core with (see `fingerprint`); None: with nobody.
        keep: How long its key stays pinned after its last token, ns.

    Attributes:
        needs: The tokens whose values are to be filled in.
        writable: Whether the function is to get what is large as copies that it can change.
        anchor: What its key is to be made with, once they are.
    """

    __slots__ = (
        "_arguments",
        "_function",
        "_number",
        "_places",
        "_record",
        "_size",
        "_values",
        "anchor",
        "keep",
        "key",
        "needs",
        "writable",
    )

    _number: int
    _function: int
    _arguments: list[Any] | bytes
    _places: list[int]
    _values: list[Any]
    _size: int

    def __init__(
        self, record: bytes | Laden = b"", key: bytes | None = None, keep: int = 0
    ) -> None:
        self._record = record
        self.key = key
        self.keep = keep
        self.anchor: str | None = None
        self.needs: list[Needed] = []
        self.writable = False

    def __len__(self) -> int:
        """How many bytes its arguments take, without the values that they lack."""
        if self._record or isinstance(self._arguments, list):
            return len(self._record)
        return len(self._arguments)

    @classmethod
    def with_blanks(
        cls,
        number: int,
        function: int,
        arguments: list[Any] | bytes,
        needs: Iterable[tuple[int, Needed]],
    ) -> Draft:
        """A call that needs the values of tokens.

        Args:
            number: Its token's number.
            function: The function's index.
            arguments: Positional arguments, of scalars where there is no blank; or a pickle of
                positional and keyword arguments (see `blanks`).
            needs: The tokens, each with its place: in the list, or the number of its blank.
        """
        draft = cls()
        draft._number = number
        draft._function = function
        draft._arguments = arguments
        pairs = list(needs)
        draft._places = [place for place, _ in pairs]
        draft.needs = [need for _, need in pairs]
        draft._values = [None] * len(draft.needs)
        draft._size = _MARGIN + (len(arguments) if isinstance(arguments, bytes) else 0)
        return draft

    def fill(self, at: int, value: object) -> None:
        """The value of one of the tokens that it needs is there.

        Args:
            at: Which of `needs`.
            value: A scalar, or the value `Encoded`.

        Raises:
            PayloadError: The call takes more bytes with it than can travel.
        """
        if isinstance(value, Encoded):
            self._size += len(value.pickled)
        elif isinstance(value, (str, bytes)):
            self._size += len(value)
        if self._size > MAX_PAYLOAD:
            raise PayloadError(
                f"the arguments take more than {MAX_PAYLOAD - _MARGIN} bytes with the values of "
                "the tokens among them; let those write files and return their names"
            )
        self._values[at] = value

    def complete(self) -> bytes | Laden:
        """The request, now that all values are there.

        Raises:
            Exception: What encoding raises.
        """
        if self._record:
            return self._record
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
        if self.writable:
            pickled = writable(pickled)
        return laden(encode((self._number, self._function, pickled)), *payloads)

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
        for place, value in zip(self._places, self._values, strict=True):
            filled[place] = value
        return filled
