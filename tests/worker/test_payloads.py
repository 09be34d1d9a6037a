"""Arguments and results: type-exact both ways, of any size, through rings of any size."""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import math
import os
import pathlib
import random
import re
import threading
import uuid
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
import work

from tokengate_mp import (
    OperationsCoordinator,
    PayloadError,
    RemoteError,
    TokenState,
    task_token_guard,
)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


Pair = collections.namedtuple("Pair", "a b")  # noqa: PYI024 - the other kind is below


class Typed(NamedTuple):
    a: int
    b: str = "b"


class Record(msgspec.Struct):
    a: int
    b: list[int] = []


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Numbers(list):
    pass


class Mapping(dict):
    pass


class Group(set):
    pass


class Raw(bytes):
    pass


VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    2**64 - 1,
    2**64,
    -(2**63),
    -(2**63) - 1,
    10**100,
    0.0,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    1 + 2j,
    complex("-0"),
    "",
    "ascii",
    "überall – 🦆",
    "nul\0nul",
    "\ud800",
    b"",
    b"\0\xff",
    bytearray(b"abc"),
    (),
    (1,),
    (1, (2, [3, (4,)], {5: (6,)})),
    [],
    [1, [2, (3,)]],
    {},
    {"a": (1, 2), 3: None, (4, 5): {6}, None: 7, 1.5: "x", True: 0},
    set(),
    {1, "a", (2,)},
    frozenset(),
    frozenset({1, frozenset({2})}),
    range(3, 9, 2),
    slice(1, None, 2),
    Ellipsis,
    NotImplemented,
    decimal.Decimal("1.50"),
    fractions.Fraction(1, 3),
    dt.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=dt.UTC),
    dt.date(2024, 2, 29),
    dt.timedelta(days=-1, microseconds=1),
    uuid.UUID(int=5),
    pathlib.PurePosixPath("/a/b"),
    re.compile("a+", re.IGNORECASE),
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.Counter("abca"),
    collections.deque([1, 2], maxlen=3),
    collections.defaultdict(list, {"a": [1]}),
    array.array("d", [1.5, 2.5]),
    Colour.RED,
    Level.LOW,
    Flags.A | Flags.B,
    Point(1, Point(2)),
    Frozen(3),
    Pair(1, (2,)),
    Typed(1),
    Record(1, [2, 3]),
    Number(5),
    Text("text"),
    Numbers([1, 2]),
    Mapping(a=1),
    Group({1}),
    Raw(b"raw"),
    np.int32(4),
    np.uint64(2**64 - 1),
    np.float64(2.5),
    np.bool_(True),
    np.str_("s"),
    np.datetime64("2024-02-29"),
    np.arange(6, dtype="i2").reshape(2, 3),
    np.zeros((0, 3)),
    np.array([1, "a", None], dtype=object),
    int,
    Point,
    math.sqrt,
    ValueError("a", 1),
]


def same(a: object, b: object) -> bool:  # noqa: PLR0911 - one return a kind of value
    """Whether two values are of the same types throughout, and equal; NaN is NaN, -0.0 is not 0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (float, complex, np.generic)):
        return repr(a) == repr(b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and same(a.tolist(), b.tolist())
    if isinstance(a, BaseException):
        return same(a.args, b.args)
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(x, y) for x, y in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, (set, frozenset)):
        kinds = [collections.Counter(map(type, each)) for each in (a, b)]
        return a == b and kinds[0] == kinds[1]
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        names = [field.name for field in dataclasses.fields(a)]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    return a == b


@task_token_guard()
def described(value: object) -> tuple[str, str]:
    """Type and text of an argument, as the core process sees it."""
    return type(value).__qualname__, repr(value)


WIRES = {
    "plain": {},
    "portable": {"TOKENGATE_MP_PORTABLE": "1"},
    "checked": {"TOKENGATE_MP_CHECKED": "1"},
}


@pytest.fixture(params=WIRES)
def wire(request, monkeypatch):
    """Each kind of wire: with what Linux has, without it, and with checksums."""
    for name, value in WIRES[request.param].items():
        monkeypatch.setenv(name, value)
    return request.param


def test_every_value_comes_back_as_it_was(wire):
    """Exactly the same type and value, as argument, within containers, and as result."""
    with OperationsCoordinator(cores=1):
        wrappings = [lambda v: v, lambda v: (v,), lambda v: [v], lambda v: {"key": v}]
        for wrap in wrappings:
            tokens = [work.echo(wrap(value)) for value in VALUES]
            by_keyword = [work.echo(value=wrap(value)) for value in VALUES]
            for value, token, keyword in zip(VALUES, tokens, by_keyword, strict=True):
                assert same(token.get(20), wrap(value)), value
                assert same(keyword.get(20), wrap(value)), value
        seen = [described(value) for value in VALUES]
        for value, token in zip(VALUES, seen, strict=True):
            name, text = token.get(20)
            assert name == type(value).__qualname__
            if not isinstance(value, (set, frozenset)) and "0x" not in text:
                assert text == repr(value)


def test_identity_within_one_call_is_kept():
    """The same object twice in one argument is one object in the core, cycles included."""
    ring = []
    ring.append(ring)
    shared = [1]
    with OperationsCoordinator(cores=1) as coordinator:
        loaded = work.echo([shared, shared, ring]).get(20)
        assert loaded[0] is loaded[1]
        assert loaded[2][0] is loaded[2]
        one = coordinator.submit(lambda a, b: a is b, shared, shared)
        assert one.get(20) is True


@pytest.mark.parametrize("ring_bytes", [1 << 12, 1 << 20])
def test_large_payloads_both_ways(wire, ring_bytes):
    """Megabytes in and out, many at once, among small ones, through rings much smaller."""
    generator = random.Random(7)
    sizes = [3_000_000, 0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 500_000]
    payloads = [generator.randbytes(size) for size in sizes]

    async def main():
        async with OperationsCoordinator(cores=2, ring_bytes=ring_bytes):
            tokens = []
            for payload in payloads:
                tokens += [work.echo(payload), work.echo([payload]), work.echo(len(payload))]
            results = await asyncio.gather(*tokens)
        for n, payload in enumerate(payloads):
            assert results[3 * n : 3 * n + 3] == [payload, [payload], len(payload)]

    asyncio.run(main())


def test_every_size_around_the_ring(wire):
    """Each size of argument and result near the limits of a record, and of the ring, is right."""
    limits = [1024 - 40, 1024, 2048, 4096 - 40, 4096, 8192]
    sizes = sorted({size + delta for size in limits for delta in range(-12, 13, 2)})
    with OperationsCoordinator(cores=1, ring_bytes=1 << 12):
        tokens = [work.echo(os.urandom(1) * size) for size in sizes]
        for size, token in zip(sizes, tokens, strict=True):
            result = token.get(20)
            assert (len(result), len(set(result))) == (size, 1)


def test_small_arguments_with_large_results_and_the_reverse(wire):
    """A ring that is full in one direction does not hold up the other."""
    with OperationsCoordinator(cores=1, ring_bytes=1 << 12) as coordinator:
        grown = [coordinator.submit(bytes, 150_000) for _ in range(30)]
        shrunk = [coordinator.submit(len, bytes(150_000)) for _ in range(30)]
        assert {len(token.get(20)) for token in grown} == {150_000}
        assert {token.get(20) for token in shrunk} == {150_000}


def test_many_tokens_through_a_small_ring(wire):
    """Thousands of records that wrap round a ring of a page keep their order and their values."""

    async def main():
        async with OperationsCoordinator(cores=2, ring_bytes=1 << 12):
            words = ["x" * (n % 97) for n in range(5000)]
            assert await asyncio.gather(*map(work.echo, words)) == words

    asyncio.run(main())


def test_large_functions():
    """A function whose definition is larger than the ring arrives too, at every core."""
    table = os.urandom(100_000)

    def look_up(at: int) -> int:
        return table[at]

    with OperationsCoordinator(cores=2, ring_bytes=1 << 12) as coordinator:
        tokens = [coordinator.submit(look_up, at) for at in range(200)]
        assert [token.get(20) for token in tokens] == list(table[:200])


class NotPicklable:
    def __reduce__(self):
        raise RuntimeError("never")


class Nameless(type):
    """A class of classes that do not tell their name."""

    @property
    def __name__(cls):
        raise SystemExit(1)


class NotNamed(NotPicklable, metaclass=Nameless):
    pass


class NotLoadable:
    """The example of what arrives and does not load."""

    def __init__(self, kind=LookupError):
        self.kind = kind

    def __reduce__(self):
        return _load, (os.getpid(), self.kind)


def _load(pid: int, kind: type[BaseException]) -> str:
    if pid != os.getpid():
        raise kind("not in this process")
    return "loaded"


@task_token_guard()
def make(what: str) -> object:
    """Return something that cannot be sent."""
    if what == "unpicklable":
        return NotPicklable()
    if what == "nameless":
        return NotNamed()
    if what == "lock":
        return threading.Lock()
    if what == "generator":
        return (n for n in range(3))
    if what == "deep":
        deep: list[object] = []
        for _ in range(200_000):  # Python 3.14 manages 20 000
            deep = [deep]
        return deep
    return NotLoadable()


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("unpicklable", "of type NotPicklable, cannot be sent back: RuntimeError: never"),
        ("nameless", "of type NotNamed, cannot be sent back: RuntimeError: never"),
        ("lock", "of type lock, cannot be sent back: TypeError"),
        (
            "generator",
            "of type generator, cannot be sent back: .*PicklingError: a generator is half run",
        ),
        ("deep", "of type list, cannot be sent back: .*recursion"),
        ("unloadable", "cannot be loaded here: LookupError: not in this process"),
    ],
)
def test_a_result_that_cannot_travel_fails_its_token_alone(what, words):
    """It is a PayloadError that says what and why; every other token is right."""
    with OperationsCoordinator(cores=1) as coordinator:
        before = [work.square(n) for n in range(50)]
        token = make(what)
        after = [work.square(n) for n in range(50)]
        with pytest.raises(PayloadError, match=words):
            token.get(20)
        assert token.state is TokenState.FAILED
        assert [t.get(20) for t in before + after] == [n * n for n in range(50)] * 2
        assert coordinator.get_stats()["cores"][0]["restarts"] == 0


@pytest.mark.parametrize("kind", [LookupError, StopIteration, SystemExit, KeyboardInterrupt])
def test_an_argument_that_will_not_load_in_the_core_fails_its_token_alone(kind):
    """What arrives there and does not load raises in its token what loading it raised."""
    with OperationsCoordinator(cores=1) as coordinator:
        token = work.echo(NotLoadable(kind))
        with pytest.raises((LookupError, RemoteError), match="not in this process") as raised:
            token.get(20)
        error = raised.value
        said = error.traceback if isinstance(error, RemoteError) else "".join(error.__notes__)
        assert "An argument raised this when it was loaded in the core process" in said
        assert work.square(3).get(20) == 9
        assert coordinator.get_stats()["cores"][0]["restarts"] == 0


def test_payloads_are_not_kept():
    """Once a token has ended, neither its arguments nor what its function was are held by it."""
    with OperationsCoordinator(cores=1):
        token = work.echo(bytes(1_000_000))
        assert len(token.get(20)) == 1_000_000
        assert len(token.record) == 0
        assert token.version is None
