"""The records that travel, and how they look as bytes.

A ring carries a stream of msgpack arrays, one a record. A reader takes whatever whole records
there are and decodes them in one call, as one msgpack array: that, and not a loop over headers,
is what makes a small token cheap. Ids are fields of the record, outside the user's payload, so a
payload that will not decode costs one token its result and nothing else.

A record longer than `part_limit` of the ring travels as several: parts, each with the next piece
of its bytes, and a join with the last piece. The receiver puts the bytes together and decodes the
record they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

import msgspec

from tokengate_mp.errors import WireError
from tokengate_mp.wire.payload import msgpack

# What `Request.function` says when it is not the index of a function:
PART: Final = -1
JOIN: Final = -2
DEFINE: Final = -3
FORGET: Final = -4
ANSWER: Final = -5
CHAINED: Final = -6
HINT: Final = -7
FREE: Final = -8

# What `Outcome.kind` says. VALUE is 0: a batch of nothing but plain values is told by one any().
VALUE: Final = 0
PICKLED: Final = 1
RAISED: Final = 2
OUTCOME_PART: Final = 3
OUTCOME_JOIN: Final = 4
GIVEN_BACK: Final = 5
DROPPED: Final = 6
"""The token had been ended, so it was interrupted or never begun."""

# What a core says of tokens that are made inside tokens. These are no outcomes, and answer nothing.
CALL: Final = 7
CLAIM: Final = 8
ENROL: Final = 9
DROP: Final = 10
BEGUN: Final = 11
CARRY: Final = 12
WANT: Final = 13
KILL: Final = 14
LINK: Final = 15

BORROWED: Final = 16
RELEASED: Final = 17
CUT: Final = 18

BLOCKED: Final = 64
"""Flag beside VALUE, PICKLED or RAISED: the token spent most of its time off the CPU."""

NESTED_BITS: Final = 40
"""The n-th token that process number p makes has the number p * 2**NESTED_BITS + n.

Processes count from 1, so tokens of the parent have lower numbers than all others.
"""

FIRST_NESTED: Final = 1 << NESTED_BITS
"""The lowest number of a token that was made inside a token."""

MAX_PAYLOAD: Final = 2**32 - 1
"""The longest byte string in msgpack."""

NUMBERS_PER_RECORD: Final = 64
"""How many numbers, or names of blocks, go in one record: no ring is too short for those."""


class Request(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """Parent to core: run a function, or learn a function.

    Attributes:
        number: The token's number; for DEFINE and FORGET the function's index.
        function: The function's index; below 0 see PART, JOIN, DEFINE and the others.
        arguments: A list of positional arguments that msgpack keeps exactly; or bytes: a pickle
            of `(args, kwargs)`, the piece of a part, a function's definition; for an ANSWER the
            outcome of a token that was made in this process; for CHAINED a `Link`; for a HINT the
            numbers and operations of the tokens that one which is waited for needs, encoded; for
            FREE a list of offsets, encoded.
    """

    number: int
    function: int
    arguments: list[Any] | bytes


class Outcome(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """Core to parent: the outcome of a token, or something that a running token asks for.

    What the fields mean where `kind` is

        CALL    a token was made: its number; `started`, when; `finished`, the enrolment that it is
                a call of; `value`, its request, or a list: a pending_call of one
                (`PendingCall.travelling`)
        CLAIM   a thread waits for the token, and would rather run it than wait; `started`, the
                token that the thread runs, or 0
        ENROL   `number` is an enrolment of this process, and `value` an `Enrolment`, encoded
        DROP    nobody in this process refers to these tokens any more: a list in `value`;
                `started` is 1 if only a token did that was ended
        BEGUN   the token is begun by a thread that is running another one already: `started`, or 0
        CARRY   the token's outcome will refer to other tokens: a list in `value`
        WANT    a token that was made elsewhere is referred to here now: its operation in `value`
        KILL    the token is to be ended, for the reason in `value`
        LINK    like CALL, but the token is in a chain, and will be run here: `value` is a list, of
                the fields of a `Link`, and, if the token is begun, what BEGUN says; else None. If
                it is begun, the request may be empty, as it need never be sent again; if that is a
                pending_call, the token is not here, and will be sent here
        BORROWED  blocks of the arena that this process goes on reading after their tokens: a list
                in `value`, each as region and offset
        RELEASED  blocks that were BORROWED and are not read any more: likewise, each as often as it
                stands there
        CUT     the token is a batch that was cut: its outcome will be of `value` items

    Attributes:
        number: The token's number.
        kind: How to read `value`: see VALUE and the others.
        started: When the function was called, monotonic ns.
        finished: When it returned or raised, monotonic ns.
        value: The result if msgpack keeps it exactly; else bytes.
    """

    number: int
    kind: int
    started: int
    finished: int
    value: Any


class Enrolment(msgspec.Struct, array_like=True, frozen=True):
    """A function with its options, made known to the parent by a core process.

    Attributes:
        function: The function's index.
        definition: The function.
        operation_type: The operation that calls of it count as.
        weight: Its weight class.
        policy: What is done about its tokens that take too long or fail, as a pickle.
    """

    function: int
    definition: bytes
    operation_type: str
    weight: str
    policy: bytes


class Link(msgspec.Struct, array_like=True, frozen=True):
    """A request of a chain.

    Attributes:
        lead: The number of the chain's lead.
        seed: The chain's seed.
        request: The request.
    """

    lead: int
    seed: str
    request: bytes


class Failure(msgspec.Struct, array_like=True, frozen=True):
    """An exception, as the value of a RAISED outcome.

    Attributes:
        pickled: The exception; empty if it would not pickle or must not be raised in the parent.
        type_name: Qualified name of its type.
        message: Its text.
        traceback: The formatted traceback.
    """

    pickled: bytes
    type_name: str
    message: str
    traceback: str


_R = TypeVar("_R")

encode = msgpack.encode
"""Any record, or a tuple with its fields in order, as bytes."""

decode_enrolment = msgpack.decoder(Enrolment)
decode_failure = msgpack.decoder(Failure)
decode_link = msgpack.decoder(Link)
decode_request = msgpack.decoder(Request)
decode_outcome = msgpack.decoder(Outcome)
decode_needs = msgpack.decoder(list[tuple[int, str]])

_ARRAY32: Final = b"\xdd"


class Stream(Generic[_R]):
    """Decodes the bytes from a ring into records of a kind.

    Args:
        kind: `Request` or `Outcome`.
        checked: Whether the ring is checked, so that checksums stand among the records.
    """

    __slots__ = ("_checked", "_decode", "_kind")

    def __init__(self, kind: type[_R], *, checked: bool) -> None:
        self._kind = kind
        self._checked = checked
        expected: Any = list[kind | int] if checked else list[kind]  # type: ignore[valid-type]
        self._decode = msgspec.msgpack.Decoder(expected).decode

    def records(self, count: int, stream: bytes) -> list[_R]:
        """Decode the `count` records of a stream, checksums counted but left out.

        Raises:
            WireError: It consists of something else.
        """
        try:
            records: list[_R] = self._decode(_ARRAY32 + count.to_bytes(4, "big") + stream)
        except Exception as error:  # msgspec's own, and RecursionError, MemoryError …
            raise WireError(
                f"{count} records in {len(stream)} bytes do not decode: {error}"
            ) from error
        if self._checked:
            return [record for record in records if isinstance(record, self._kind)]
        return records


_PIECE_HEADER: Final = 32
"""No less than what `_piece` adds: an array of five, its number, mark and two zeros, and the length
of its bytes take at most 1 + 9 + 1 + 2 + 5.
"""


def split(number: int, record: bytes, limit: int, part: int, join: int) -> Iterator[bytes]:
    """Split a record that is longer than `limit` bytes into records that are not.

    Args:
        number: The token's number.
        record: The encoded record; it may be longer than any byte string in msgpack.
        limit: The most bytes that a record may have.
        part: What marks a piece with more to come.
        join: What marks the last piece.
    """
    step = limit - _PIECE_HEADER
    last = (len(record) - 1) // step * step
    view = memoryview(record)
    for start in range(0, last, step):
        yield _piece(number, part, view[start : start + step])
    yield _piece(number, join, view[last:])


def _piece(number: int, mark: int, data: memoryview) -> bytes:
    if mark in {PART, JOIN}:
        return encode((number, mark, data))
    return encode((number, mark, 0, 0, data))


class Pieces:
    """Puts records together that travel in pieces."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: dict[int, list[bytes]] = {}

    def add_piece(self, number: int, piece: object) -> None:
        """Add a piece with more to come.

        Raises:
            WireError: It is something else.
        """
        self._pieces.setdefault(number, []).append(_bytes_of(piece))

    def join_pieces(self, number: int, last: object) -> bytes:
        """Return the whole record, now that its last piece is here.

        Raises:
            WireError: It is something else.
        """
        return b"".join([*self._pieces.pop(number, ()), _bytes_of(last)])

    def __len__(self) -> int:
        return len(self._pieces)


def _bytes_of(piece: object) -> bytes:
    if not isinstance(piece, bytes):
        raise WireError(f"a piece of a record carries bytes, not {type(piece).__name__}")
    return piece
