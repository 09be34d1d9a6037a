from __future__ import annotations

from zlib import crc32

import pytest

from tokengate_mp.errors import WireError
from tokengate_mp.wire.channel.ring import RingReader, RingWriter

HEAD, TAIL = 0, 16
SEAL = 5


def ring(size=64, *, checked=False, at=0):
    """Both ends of a ring that has been in use up to the control word `at`."""
    data = memoryview(bytearray(size))
    words = memoryview(bytearray(256)).cast("Q")
    words[HEAD] = words[TAIL] = at
    ends = (
        RingWriter(data, words, HEAD, TAIL, checked=checked),
        RingReader(data, words, HEAD, TAIL, checked=checked),
    )
    return *ends, data, words


def _sealed(stream, crc=0):
    return stream + b"\xce" + crc32(stream, crc).to_bytes(4, "big")


@pytest.mark.parametrize("checked", [False, True])
def test_what_is_written_is_read_once_in_one_piece(checked):
    """A read gives everything that was published since the last one, and how many records."""
    writer, reader, _, _ = ring(checked=checked)
    assert not reader.pending()
    assert reader.read() is None
    assert writer.append_records(b"abc", 1)
    assert writer.append_records(b"de", 2)
    assert reader.pending()
    if checked:
        first = _sealed(b"abc")
        assert reader.read() == (5, _sealed(first + b"de"))
    else:
        assert reader.read() == (3, b"abcde")
    assert not reader.pending()
    assert reader.read() is None


def test_ring_that_is_exactly_full_is_not_taken_for_an_empty_one():
    """Positions that differ by the size are a full ring: no byte more fits, and all is read."""
    writer, reader, _, _ = ring(64)
    assert writer.append_records(bytes(64), 3)
    assert not writer.append_records(b"x", 1)
    assert reader.pending()
    assert reader.read() == (3, bytes(64))
    assert writer.append_records(b"y" * 64, 1)
    assert reader.read() == (1, b"y" * 64)


def test_write_without_room_changes_nothing():
    """False means that neither bytes nor words were touched, in a checked ring not the CRC either.

    So the same write, repeated when there is room, is read as if it were the first.
    """
    writer, reader, data, words = ring(32, checked=True)
    assert writer.append_records(b"a" * 20, 1)
    before = bytes(data), words.tolist()
    assert not writer.append_records(b"b" * 3, 1)
    assert (bytes(data), words.tolist()) == before
    first = reader.read()[1]
    assert first == _sealed(b"a" * 20)
    assert writer.append_records(b"b" * 3, 1)
    assert reader.read() == (2, _sealed(b"bbb", crc32(first)))


@pytest.mark.parametrize("checked", [False, True])
def test_what_could_never_fit_is_an_error(checked):
    """More bytes than the ring has, checksum included, would wait for ever: they are refused."""
    writer, _, _, _ = ring(64, checked=checked)
    most = 64 - SEAL * checked
    with pytest.raises(WireError, match="do not fit a ring of 64"):
        writer.append_records(bytes(most + 1), 1)
    assert writer.append_records(bytes(most), 1)
    with pytest.raises(WireError, match="do not fit a ring of 64"):
        writer.append_records(bytes(most + 1), 1)


def test_counters_go_round():
    """Position and record count pass 2**32 between two reads without anybody noticing."""
    at = (2**32 - 10) | (2**32 - 1) << 32
    writer, reader, _, words = ring(64, at=at)
    assert not reader.pending()
    assert writer.append_records(b"a" * 30, 2)
    assert reader.read() == (2, b"a" * 30)
    assert words[HEAD] == words[TAIL] == 20 | 1 << 32


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(65 | 1 << 32, id="more than the ring holds"),
        pytest.param(2**32 - 1 | 1 << 32, id="backwards"),
        pytest.param(10, id="bytes without records"),
        pytest.param(1 << 32, id="records without bytes"),
        pytest.param(2 | 3 << 32, id="more records than bytes"),
        pytest.param(2 | (2**32 - 1) << 32, id="records backwards"),
    ],
)
@pytest.mark.parametrize("checked", [False, True])
def test_head_that_makes_no_sense_is_an_error(head, checked):
    """A head that no sequence of writes leads to is reported, and never believed or waited for."""
    _, reader, _, words = ring(64, checked=checked)
    words[HEAD] = head
    with pytest.raises(WireError, match="published in a ring of 64"):
        reader.read()


@pytest.mark.parametrize("size", [0, 3, 48])
def test_size_is_a_power_of_two(size):
    """Positions are taken modulo the size, and go round at 2**32: it has to divide that."""
    data = memoryview(bytearray(size))
    words = memoryview(bytearray(256)).cast("Q")
    for end in (RingWriter, RingReader):
        with pytest.raises(ValueError, match="power of two"):
            end(data, words, HEAD, TAIL, checked=False)


def test_reader_that_comes_later_finds_what_was_written_before():
    """A core process attaches when the parent has long begun to write."""
    writer, _, data, words = ring(64)
    assert writer.append_records(b"early", 1)
    late = RingReader(data, words, HEAD, TAIL, checked=False)
    assert late.pending()
    assert late.read() == (1, b"early")


def test_stale_bytes_with_a_valid_checksum_of_their_own_are_not_believed():
    """A lap ago the same place held a well-formed stream: its checksum is not the expected one."""
    writer, reader, data, words = ring(16, checked=True)
    assert writer.append_records(b"\x01\x02\x03", 3)
    assert writer.append_records(b"\x01\x02\x03", 3)
    lap = bytes(data)
    assert reader.read() is not None
    assert writer.append_records(b"\x04\x05\x06", 3)
    assert writer.append_records(b"\x04\x05\x06", 3)
    fresh = bytes(data)
    data[:] = lap
    assert reader.read() is None
    assert reader.pending()
    data[:] = fresh
    count, stream = reader.read()
    assert count == 8
    assert stream == fresh
    assert words[TAIL] == words[HEAD]
