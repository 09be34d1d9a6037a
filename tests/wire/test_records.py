from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengate_mp.config.settings import MIN_RING_BYTES
from tokengate_mp.errors import WireError
from tokengate_mp.wire.protocol import records
from tokengate_mp.wire.protocol.records import (
    JOIN,
    OUTCOME_JOIN,
    OUTCOME_PART,
    PART,
    Failure,
    Outcome,
    Pieces,
    Request,
    Stream,
    decode_failure,
    decode_outcome,
    decode_request,
    encode,
    split,
)

DECODERS = [decode_failure, decode_outcome, decode_request]
KINDS = [(PART, JOIN, Request), (OUTCOME_PART, OUTCOME_JOIN, Outcome)]

numbers = st.integers(1, 2**64 - 1)


def pieces_of(kind, pieces):
    """Each piece as (number, mark, bytes)."""
    decoded = Stream(kind, checked=False).records(len(pieces), b"".join(pieces))
    if kind is Request:
        return [(piece.number, piece.function, piece.arguments) for piece in decoded]
    return [(piece.number, piece.kind, piece.value) for piece in decoded]


@pytest.mark.parametrize(("part", "join", "kind"), KINDS)
@settings(max_examples=150)
@given(number=numbers, sizes=st.tuples(st.integers(1, 5000), st.integers(33, 1200)))
def test_record_in_pieces_is_put_together_again(part, join, kind, number, sizes):
    """Every piece keeps to the limit, is marked as one, and together they are the record."""
    size, limit = sizes
    record = bytes(i % 251 for i in range(size))
    pieces = list(split(number, record, limit, part, join))
    assert all(len(piece) <= limit for piece in pieces)
    *parts, last = pieces_of(kind, pieces)
    assert all(each[:2] == (number, part) for each in parts)
    assert last[:2] == (number, join)
    together = Pieces()
    for _, _, piece in parts:
        together.add_piece(number, piece)
    assert len(together) == bool(parts)
    assert together.join_pieces(number, last[2]) == record
    assert len(together) == 0


def test_pieces_fill_the_smallest_ring():
    """A piece for the smallest ring, with its checksum, leaves room for three more."""
    limit = MIN_RING_BYTES // 4
    for number in (1, 2**64 - 1):
        for part, join, _ in KINDS:
            pieces = list(split(number, bytes(10_000), limit, part, join))
            assert all(len(piece) <= limit for piece in pieces)
            assert len(pieces) <= 10_000 // (limit - 32) + 1


def test_pieces_of_several_records_do_not_mix():
    """What arrives in pieces for two tokens at once is told apart by their numbers."""
    together = Pieces()
    together.add_piece(1, b"a")
    together.add_piece(2, b"x")
    together.add_piece(1, b"b")
    assert together.join_pieces(2, b"y") == b"xy"
    assert together.join_pieces(1, b"c") == b"abc"
    assert together.join_pieces(3, b"whole") == b"whole"


@pytest.mark.parametrize("piece", [None, 1, "text", [b"x"]])
def test_piece_that_is_not_bytes_is_an_error(piece):
    """A piece is bytes, whatever the field it came in may hold."""
    with pytest.raises(WireError, match="carries bytes"):
        Pieces().add_piece(1, piece)
    with pytest.raises(WireError, match="carries bytes"):
        Pieces().join_pieces(1, piece)


@given(st.lists(st.tuples(numbers, st.integers(0, 9), st.lists(st.integers())), max_size=20))
def test_stream_of_records_decodes_in_one_call(requests):
    """Records encoded one by one, as tuples, come out of the stream as records, in order."""
    encodable = [each for each in requests if all(abs(i) < 2**63 for i in each[2])]
    stream = b"".join(map(encode, encodable))
    decoded = Stream(Request, checked=False).records(len(encodable), stream)
    assert [(r.number, r.function, r.arguments) for r in decoded] == encodable


def test_checksums_are_left_out():
    """In a checked ring, integers stand among the records, and are not given as such."""
    stream = encode((1, 0, 0, 0, 5)) + encode(2**32 - 1) + encode((2, 0, 0, 0, 6)) + encode(7)
    decoded = Stream(Outcome, checked=True).records(4, stream)
    assert [(outcome.number, outcome.value) for outcome in decoded] == [(1, 5), (2, 6)]
    with pytest.raises(WireError):
        Stream(Outcome, checked=False).records(4, stream)


def test_value_that_looks_like_a_checksum_stays():
    """Only what stands between records is a checksum, and never a result that is an integer."""
    decoded = Stream(Outcome, checked=True).records(1, encode((1, 0, 0, 0, 2**32 - 1)))
    assert decoded[0].value == 2**32 - 1


hostile = (
    st.binary(max_size=200)
    | st.binary(max_size=40).map(lambda tail: b"\x95\x01\x00\x00\x00" + tail)
    | st.binary(max_size=40).map(lambda tail: b"\x93\x01\x00" + tail)
    | st.binary(max_size=40).map(lambda tail: b"\x94" + tail)
    | st.integers(1, 3000).map(lambda depth: b"\x95\x01\x00\x00\x00" + b"\x91" * depth)
    | st.sampled_from(
        [
            b"\x95\x01\x00\x00\x00\xdd\xff\xff\xff\xff",
            b"\x95\x01\x00\x00\x00\xdf\xff\xff\xff\xff\x01",
            b"\x95\x01\x00\x00\x00\xc6\xff\xff\xff\xff",
            b"\x95\x01\x00\x00\x00\x81\x80\x01",
            b"\x95\x01\x00\x00\x00\xa2\xff\xfe",
            b"\x95\x01\x00\x00\x00\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x93\x01\x00\xdd\xff\xff\xff\xff",
        ]
    )
)


@settings(max_examples=500)
@given(hostile)
@pytest.mark.parametrize("decode", DECODERS)
def test_arbitrary_bytes_are_a_record_or_a_wire_error(decode, stream):
    """Whatever bytes come, decoding one record ends in a record or in a WireError."""
    try:
        decoded = decode(stream)
    except WireError:
        return
    assert isinstance(decoded, (Failure, Outcome, Request))


@settings(max_examples=500)
@given(hostile, st.integers(0, 2**32 - 1) | st.integers(0, 3))
@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("kind", [Outcome, Request])
def test_arbitrary_streams_are_records_or_a_wire_error(kind, checked, stream, count):
    """Whatever bytes come, and however many records they are said to be: never another error."""
    try:
        decoded = Stream(kind, checked=checked).records(count, stream)
    except WireError:
        return
    assert all(isinstance(record, kind) for record in decoded)


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize("value", [None, 3, "text", [1]])
def test_what_is_not_bytes_is_a_wire_error(decode, value):
    """A field that may hold anything may be given to a decoder as it is."""
    with pytest.raises(WireError):
        decode(value)


def test_records_are_not_tracked_by_the_garbage_collector():
    """Tens of thousands wait at times, and none can be part of a cycle: see their `gc=False`."""
    import gc

    assert not gc.is_tracked(Request(1, 2, []))
    assert not gc.is_tracked(Outcome(1, 2, 3, 4, []))


def test_tuple_is_encoded_as_the_record_with_its_fields():
    """The hot paths encode tuples, which saves making a record."""
    assert encode((1, 2, [3])) == encode(Request(1, 2, [3]))
    assert encode((1, 2, 3, 4, "v")) == encode(Outcome(1, 2, 3, 4, "v"))
    failure = (b"p", "t", "m", "tb")
    assert decode_failure(encode(failure)) == Failure(*failure)
    assert msgspec.msgpack.decode(encode((1, 2, [3]))) == [1, 2, [3]]
    assert records.MAX_PAYLOAD == 2**32 - 1
