"""Every decoder of the wire, as a function of arbitrary bytes that raises only what it documents.

Unpickling arbitrary bytes calls whatever they name, so no target does that: pickles come only from
processes of the same program, over descriptors that nobody else has. What is fuzzed is all that is
looked at before a pickle is loaded, and each place that hands a pickle on is given bytes that are
none (0xff …), which `pickle` refuses at the first one.

Both who draws bytes by chance (`test_decoders`) and who is led by coverage (`coverage_guided`) take
the targets from here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from tokengate_mp.errors import PayloadError, WireError
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.channel.ring import RingReader, RingWriter
from tokengate_mp.wire.payload.buffers import place_of, taken_up
from tokengate_mp.wire.payload.definition import about, resolve
from tokengate_mp.wire.payload.placeholders import Encoded
from tokengate_mp.wire.protocol import delivery
from tokengate_mp.wire.protocol.batches import BatchOutcome, decode_batch
from tokengate_mp.wire.protocol.pending_call import PlaceholderCall
from tokengate_mp.wire.protocol.records import (
    BLOCKED,
    Enrolment,
    Failure,
    Link,
    Outcome,
    Pieces,
    Request,
    Stream,
    decode_enrolment,
    decode_failure,
    decode_link,
    decode_outcome,
    decode_request,
    encode,
    split,
)

NO_PICKLE: Final = b"\xff\xff"
"""Bytes that no pickle begins with."""

IN_A_BLOCK: Final = b"\x80\x05C\x20"
"""How a pickle begins that is in shared memory."""


def single_records(data: bytes) -> None:
    """Each kind of record by itself: what decodes is of that kind, and encodes as the same."""
    for decode in (decode_request, decode_outcome, decode_link, decode_failure, decode_enrolment):
        try:
            record = decode(data)
        except WireError:
            continue
        assert decode(encode(record)) == record or _has_nan(record)


def _has_nan(record: object) -> bool:
    return "nan" in repr(record)


def streams(data: bytes) -> None:
    """A portion of a ring, whatever it says how many records it holds."""
    if len(data) < 2:
        return
    count = int.from_bytes(data[:2], "big")
    for kind in (Request, Outcome):
        for checked in (False, True):
            try:
                records = Stream(kind, checked=checked).records(count, data[2:])
            except WireError:
                continue
            assert len(records) <= count
            assert checked or len(records) == count
            assert all(type(record) is kind for record in records)


def pieces(data: bytes) -> None:
    """A record that is cut at any length comes back whole, and anything else is refused."""
    if len(data) < 2:
        return
    limit = 33 + data[0]
    collected = Pieces()
    for cut in split(7, data[1:], limit, -1, -2):
        assert len(cut) <= limit
        request = decode_request(cut)
        assert request.number == 7
        if request.function == -1:
            collected.add_piece(7, request.arguments)
        else:
            assert collected.join_pieces(7, request.arguments) == data[1:]
    assert len(collected) == 0
    try:
        joined = Pieces().join_pieces(1, decode_request(data).arguments)
    except WireError:
        return
    try:
        decode_request(joined)
    except WireError:
        pass


def batches(data: bytes) -> None:
    """What comes of a batch: places that are not there are refused."""
    try:
        batch = decode_batch(data)
    except WireError:
        return
    assert isinstance(batch, BatchOutcome)
    for place in (*batch.pickled, *batch.raised):
        assert isinstance(batch.values[place], bytes)


def deliveries(data: bytes) -> None:
    """A failure becomes an exception, and a result that is no pickle a `PayloadError`."""
    try:
        error = delivery.raised(data if _is_safe(data) else NO_PICKLE + data)
    except WireError:
        pass
    else:
        assert isinstance(error, Exception)
    try:
        delivery.result(NO_PICKLE + data)
    except PayloadError:
        return
    raise AssertionError("bytes that are no pickle were loaded")


def _is_safe(data: bytes) -> bool:
    """Whether what would be unpickled is nothing, or nothing that pickle would begin with."""
    try:
        pickled = decode_failure(data).pickled
    except WireError:
        return True
    return not pickled or pickled.startswith(NO_PICKLE)


def definitions(data: bytes) -> None:
    """A function's key is told without loading it; what defines nothing is refused."""
    try:
        key, _manner = about(data)
    except WireError:
        return
    try:
        neither = encode((None, None, None))
        resolve(neither)
    except WireError:
        pass
    else:
        raise AssertionError("a definition of nothing was resolved")
    assert key is None or isinstance(key, str)


def pending_calls(data: bytes) -> None:
    """Values of any bytes are filled into placeholders, and the request is still a record."""
    if not data:
        return
    values = [data[:3], Encoded(data), len(data), data.decode("latin-1"), None, data.hex()]

    class Need:
        number = 1

        def arrived_value(self) -> object:
            """Never."""
            return None

    at = data[0] % 6
    pending_call = PlaceholderCall(3, 1, [None, None], [(0, Need()), (1, Need())])
    pending_call.anchor = "fuzz"
    pending_call.fill(0, values[at], 1)
    pending_call.fill(1, values[(at + 1) % 6], None)
    record = pending_call.complete()
    assert isinstance(record, bytes)
    request = decode_request(record)
    assert (request.number, request.function) == (3, 1)
    pending_call.make_key()
    assert pending_call.key


def places(data: bytes) -> None:
    """Whatever follows on the mark of a large payload, it has a place or has none."""
    for pickled in (data, IN_A_BLOCK + data):
        place = place_of(pickled)
        assert place is None or len(pickled) >= len(IN_A_BLOCK) + 32
        try:
            taken_up(pickled)
        except PayloadError:  # no such arena, unless it is none at all
            assert place is not None


def rings(data: bytes) -> None:
    """Whatever a dying process may have left in the words of a ring is refused or has its size."""
    if len(data) < 16:
        return
    words = memoryview(bytearray(data[:16])).cast("Q")
    ring = memoryview(bytearray(data[16 : 16 + 64].ljust(64, b"\0")))
    for checked in (False, True):
        reader = RingReader(ring, words, 0, 1, checked=checked)
        assert reader.count() >= 0
        # The reader begins at TAIL, so its own idea of that is changed as an evil writer would.
        words[0] ^= words[1] << 1 & 0xFFFFFFFFFFFFFFFF
        try:
            taken = reader.read()
        except WireError:
            taken = None
        if taken is not None:
            records, stream = taken
            assert 0 < records <= len(stream) <= 64
    writer = RingWriter(ring, words, 0, 1, checked=False)
    words[1] = struct.unpack("=Q", data[8:16])[0]
    writer.append_records(b"x" * 16, 1)


def status_pages(data: bytes) -> None:
    """Any numbers on the status page are told as they stand, and none of them breaks anything."""
    mailbox = open_mailbox()
    raw = data[: len(mailbox.words) * 8].ljust(len(mailbox.words) * 8, b"\0")
    words = memoryview(raw).cast("Q")
    for at, word in enumerate(words):
        mailbox.words[at] = word
    running = mailbox.running_tokens()
    assert all(running)
    for reader in (mailbox.outcome_reader(), mailbox.request_reader()):
        assert isinstance(reader.pending(), bool)
        try:
            reader.read()
        except WireError:
            pass


_mailboxes: list[Mailbox] = []


def open_mailbox() -> Mailbox:
    """The mailbox that targets share, made when it is first needed."""
    if not _mailboxes:
        _mailboxes.append(Mailbox.create(4096))
    return _mailboxes[0]


def close() -> None:
    """Give up what targets share."""
    while _mailboxes:
        _mailboxes.pop().close_mailbox()


TARGETS: Final[tuple[Callable[[bytes], None], ...]] = (
    single_records,
    streams,
    pieces,
    batches,
    deliveries,
    definitions,
    pending_calls,
    places,
    rings,
    status_pages,
)


def _valid() -> list[bytes]:
    values: list[Any] = [None, True, -1, 2**63, 1.5, "é", b"\x00\xff", [1, "two"], {"k": b"v"}]
    records: list[Any] = [Request(7, 0, [value]) for value in values]
    records += [Request(7, at, b"content") for at in range(-6, 1)]
    records += [Outcome(7, kind, 1, 2, value) for kind in range(BLOCKED + 3) for value in values]
    records += [Link(1, "ab", encode(Request(1, 1, []))), Failure(b"", "T", "m", "t")]
    records += [Failure(NO_PICKLE, "T", "m", ""), Enrolment(1, b"", "op", "light", NO_PICKLE)]
    records += [BatchOutcome(5, [1, b"x", b"y"], [1], [2]), ("m:f", None, None)]
    records += [(None, NO_PICKLE, None), ("key", None, ("full", ["a"]))]
    return [encode(record) for record in records]


VALID: Final = tuple(_valid())
"""Records as they should be, to begin with."""
