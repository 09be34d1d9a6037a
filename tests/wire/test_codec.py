from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import io
import math
import pathlib
import pickle
import re
import struct
import threading
import uuid

import msgspec
import numpy as np
import pytest
from exact import same
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengate_mp.errors import PayloadError
from tokengate_mp.wire.payload import codec
from tokengate_mp.wire.payload.codec import (
    NOT_MSGPACK,
    SCALARS,
    arguments_to_pickle,
    loads,
    to_pickle,
)
from tokengate_mp.wire.protocol import records


class Colour(enum.Enum):
    RED = 1


class Size(enum.IntEnum):
    BIG = 3


class Text(str):
    __slots__ = ("note",)


class Whole(int):
    pass


class Pile(list):
    pass


class Book(dict):
    pass


@dataclasses.dataclass
class Point:
    x: float
    tags: list[str] = dataclasses.field(default_factory=list)


class Pair(collections.namedtuple("Pair", "left right")):  # noqa: PYI024 - one of those too
    __slots__ = ()


class Row(msgspec.Struct):
    a: int
    b: tuple[int, ...] = ()


def travelled(value):
    """A value as it comes out of a record that it goes into, by the rule of calls and results."""
    if type(value) in SCALARS:
        try:
            return records.decode_outcome(records.encode((1, 0, 0, 0, value))).value
        except NOT_MSGPACK:
            pass
    return loads(to_pickle(value))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.sampled_from([math.nan, -math.nan, -0.0, 0.0, math.inf, 5e-324])
    | st.text()
    | st.text(st.characters(categories=["Cs", "Ll"]))
    | st.binary()
)
atoms = (
    scalars
    | st.builds(bytearray, st.binary())
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([Colour.RED, Size.BIG, Whole(7), Whole(2**70), Text("t"), ..., range(3), int])
    | st.builds(np.float32, st.floats(width=32))
    | st.builds(np.int64, st.integers(-(2**63), 2**63 - 1))
    | st.builds(np.array, st.lists(st.floats(), max_size=4))
)
hashable = (
    scalars | st.sampled_from([Colour.RED, Size.BIG, Whole(7)]) | st.decimals(allow_nan=False)
)


def _containers(inner):
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(Pile)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.dictionaries(hashable, inner, max_size=3).map(Book)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
        | st.builds(Point, inner, st.lists(inner, max_size=2))
        | st.builds(Pair, inner, inner)
        | st.builds(Row, inner, st.just((1,)))
    )


@settings(max_examples=300)
@given(st.recursive(atoms, _containers, max_leaves=12))
def test_values_come_back_as_they_were(value):
    """Whatever is nested in whatever: every type is exactly the same, and every bit."""
    assert same(travelled(value), value)


@settings(max_examples=200)
@given(scalars)
def test_scalars_come_back_as_they_were(value):
    """The fast path is as exact as the other."""
    assert same(travelled(value), value)


@settings(max_examples=200)
@given(st.lists(scalars, max_size=5))
def test_argument_lists_come_back_as_they_were(arguments):
    """A call whose arguments are all scalars travels as one msgpack array, and is exact too."""
    try:
        record = records.encode((1, 0, tuple(arguments)))
    except NOT_MSGPACK:
        return
    assert same(records.decode_request(record).arguments, arguments)


@pytest.mark.parametrize(
    "value",
    [
        True,
        0,
        2**64 - 1,
        -(2**63),
        2**64,
        -(2**63) - 1,
        -0.0,
        "\ud800",
        b"",
        bytearray(b"x"),
        (1, [2, (3,)], {4: (5, {6})}, frozenset({(7,)})),
        complex(-0.0, math.nan),
        decimal.Decimal("1.10"),
        decimal.Decimal("sNaN123"),
        fractions.Fraction(1, 3),
        dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.UTC, fold=1),
        Colour.RED,
        Size.BIG,
        Point(1.5, ["a"]),
        Pair(1, (2,)),
        Row(1, (2,)),
        Whole(5),
        Pile([1]),
        Book(a=1),
        collections.OrderedDict(a=1),
        collections.Counter("aab"),
        collections.deque([1], maxlen=3),
        np.float64(-0.0),
        np.bool_(1),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.array(["a", None], dtype=object),
        np.zeros(3, dtype=[("x", "f4"), ("y", "U2")]),
        pathlib.PurePosixPath("a/b"),
        uuid.UUID(int=5),
        memoryview(b"abcd").cast("H"),
        memoryview(b""),
        memoryview(b"abcdefgh").cast("d")[:0],
        memoryview(bytearray(b"abcd")).cast("B", (2, 2)),
        {1: 2}.keys(),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value)),  # the same in every run
)
def test_type_is_kept(value):
    """One example of each kind, the boundaries of msgpack's integers among them."""
    back = travelled(value)
    assert same(back, value)


def test_nan_keeps_its_bits():
    """There are many NaNs, and the one that went in comes out."""
    for bits in (0x7FF8000000000001, 0xFFF8000000000000, 0x7FF800DEADBEEF00):
        value = struct.unpack("d", struct.pack("Q", bits))[0]
        assert struct.pack("d", travelled(value)) == struct.pack("Q", bits)


def test_subclass_of_a_scalar_is_no_scalar():
    """What looks like a str or an int to isinstance does not take the way that would flatten it."""
    for value in (Whole(1), Text("x"), Size.BIG, np.float64(1.0)):
        assert type(value) not in SCALARS
        assert type(travelled(value)) is type(value)


def test_scalar_too_large_for_msgpack_is_refused_in_a_way_that_is_expected():
    """Bytes that msgpack has no length for raise one of NOT_MSGPACK, so that pickle is tried."""
    too_long = bytes(records.MAX_PAYLOAD + 1)  # of which no page is ever touched
    with pytest.raises(NOT_MSGPACK):
        records.encode((1, 0, 0, 0, too_long))


def test_shared_references_stay_shared():
    """An object that is in a value twice is in it twice, and once in memory, afterwards too."""
    inner = [1]
    one, other, loop = travelled([inner, inner, (looped := [])])
    assert one is other
    looped.append(looped)
    (loop,) = travelled(looped)
    assert loop[0] is loop


def test_lambdas_and_closures_travel():
    """Functions that have no name to be imported by go by value, with what they enclose."""
    base = 40
    assert travelled(lambda x: x + base)(2) == 42

    def outer(n):
        def fact(k):
            return 1 if k == 0 else k * fact(k - 1)

        return fact(n)

    assert travelled(outer)(5) == 120


def test_ordinary_values_do_without_cloudpickle(monkeypatch):
    """Loading cloudpickle takes longer than most tokens: nothing that can be imported needs it."""

    def unexpected(_value):
        raise AssertionError("by value")

    monkeypatch.setattr(codec, "by_value", unexpected)
    for value in ({1, 2}, Point(1.0), [Colour.RED, np.arange(3)], len, Point):
        to_pickle(value)


def named(first, *, second):
    """A signature for errors."""
    return first, second


@pytest.mark.parametrize(
    ("args", "kwargs", "culprit"),
    [
        ((threading.Lock(), 1), {}, r"argument 1 \('first'\), of type lock,"),
        ((1, threading.Lock()), {}, r"argument 2, of type lock,"),
        ((1,), {"second": threading.Lock()}, r"argument 'second', of type lock,"),
        (
            ([{"deep": threading.Lock()}],),
            {},
            r"argument 1 \('first'\)\[0\]\['deep'\], of type lock,",
        ),
    ],
)
def test_error_names_the_argument(args, kwargs, culprit):
    """The PayloadError says which argument it is, of what type, why, and what to do instead."""
    with pytest.raises(PayloadError, match=culprit) as caught:
        arguments_to_pickle("op", args, kwargs, lambda: ["first"])
    assert "'op'" in str(caught.value)
    assert "cannot pickle '_thread.lock' object" in str(caught.value)
    assert "build it inside the function" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_error_survives_an_error_that_cannot_be_printed():
    """A user's exception whose text raises still ends in a PayloadError that names the argument."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no")

    class Stubborn:
        def __reduce__(self):
            raise Mute

    with pytest.raises(PayloadError, match=r"argument 1, of type Stubborn,.*Mute"):
        arguments_to_pickle("op", (Stubborn(),), {}, list)


def test_arguments_that_fail_only_together_are_an_error_too():
    """If no argument alone is to blame, the error says so."""

    class Once:
        sent = 0

        def __reduce__(self):
            Once.sent += 1
            if Once.sent <= 2:
                raise ValueError("not now")
            return int, ()

    with pytest.raises(PayloadError, match="the arguments, together, cannot be sent"):
        arguments_to_pickle("op", (Once(),), {}, list)


@pytest.mark.parametrize("mode", ["r", "w"])
def test_open_files_are_refused(mode, tmp_path):
    """An open file would arrive as a copy of its text: it is refused instead, by name."""
    with (tmp_path / "file.txt").open(mode="w+" if mode == "w" else "a+") as file:
        with pytest.raises(PayloadError, match=r"argument 1, of type TextIOWrapper,.*file\.txt"):
            arguments_to_pickle("op", (file,), {}, list)
        with pytest.raises(pickle.PicklingError, match="belongs to the process"):
            to_pickle(lambda: file)


def test_files_in_memory_travel():
    """They belong to no process."""
    back = travelled(io.StringIO("text"))
    assert type(back) is io.StringIO
    assert back.read() == "text"


@pytest.mark.parametrize(
    "view",
    [
        memoryview(np.zeros(3, ">i4")),
        memoryview(np.zeros(3, [("a", "i4"), ("b", "f8")])),
        memoryview(np.zeros((0, 3))),
    ],
    ids=["order", "record", "empty"],
)
def test_a_memoryview_that_cannot_be_made_anew(view):
    """It is refused, however many bytes it has: what came out would be something else."""
    with pytest.raises(pickle.PicklingError, match=r"view.cast\('B'\)"):
        to_pickle(view)
