"""A script without a guard, whose classes are its own: run by test_main_types."""

# It is what a user would write, and no test module: no pytest, and classes of every kind.
# ruff: noqa: C901, D103, PIE796, PT017, PYI024

from __future__ import annotations

import abc
import asyncio
import collections
import dataclasses
import enum
import io
import os
import sys
import typing

import msgspec
from exact import same

from tokengate_mp import OperationsCoordinator, PayloadError, task_token_guard

T = typing.TypeVar("T")
P = typing.ParamSpec("P")


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1
    GREEN = 2

    @property
    def other(self):
        return Colour.GREEN if self is Colour.RED else Colour.RED


class Size(enum.IntEnum):
    SMALL = 1
    BIG = 2


class Name(enum.StrEnum):
    ALICE = enum.auto()


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Planet(enum.Enum):
    EARTH = (5.97, 6.37)
    MARS = (0.64, 3.39)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius


class Labelled(bytes, enum.Enum):
    PX = (0, "P.X")
    PY = (1, "P.Y")

    def __new__(cls, value, label):
        member = bytes.__new__(cls, [value])
        member._value_, member.label = value, label
        return member


@dataclasses.dataclass
class Point:
    x: float
    y: float = -0.0
    tags: list[str] = dataclasses.field(default_factory=list)

    def moved(self):
        return dataclasses.replace(self, x=self.x + 1)


@dataclasses.dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Slim:
    a: int
    b: tuple[int, ...] = ()


class Slotted:
    __slots__ = ("__hidden", "seen")

    def __init__(self, value):
        self.seen = self.__hidden = value

    def __eq__(self, other):
        return self.hidden == other.hidden

    __hash__ = None

    @property
    def hidden(self):
        return self.__hidden


Pair = collections.namedtuple("Pair", "left right")


class Typed(typing.NamedTuple):
    a: int
    b: str = "b"


class Row(msgspec.Struct):
    a: int
    b: list[int] = []
    next: Row | None = None

    def grown(self):
        return Row(self.a + 1, [*self.b, self.a])


class Tagged(Row, tag="tagged", kw_only=True, frozen=False, rename="camel", weakref=True):
    first_name: str
    at: int = msgspec.field(default=3, name="@at")

    def __post_init__(self):
        if self.a < 0:
            raise ValueError(Tagged)


class Frozen(msgspec.Struct, frozen=True, array_like=True, gc=False, order=True):
    a: int


class Boxed(msgspec.Struct, typing.Generic[T]):
    value: T


class Whole(int):
    pass


class Text(str):
    __slots__ = ()


class Pile(list):
    pass


class Book(dict):
    pass


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Square(Shape, typing.Generic[T]):
    made = 0

    def __init__(self, side):
        self.side = side
        Square.made += 1

    def area(self):
        return self.side**2

    def __eq__(self, other):
        return type(self) is type(other) and self.side == other.side

    __hash__ = None


class OwnError(Exception):
    def __init__(self, code, what="?"):
        super().__init__(code, what)
        self.code = code


class Meta(type):
    def __call__(cls, *args):
        made = super().__call__(*args)
        made.by_meta = True
        return made


class WithMeta(metaclass=Meta):
    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


def typed(function: typing.Callable[P, T]) -> typing.Callable[P, T]:
    """A decorator of the user's own, whose annotations name a ParamSpec of `__main__`."""

    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return wrapper


VALUES = [
    *Colour,
    Colour.CRIMSON,
    Size.BIG,
    Name.ALICE,
    Right.READ | Right.WRITE,
    Right(0),
    *Planet,
    *Labelled,
    Point(1.0, tags=["t"]),
    Slim(a=1, b=(2,)),
    Slotted(3),
    Pair(1, (2,)),
    Typed(1),
    Row(1, [2], Row(3)),
    Tagged(1, [2], first_name="n"),
    Frozen(1),
    Boxed((1, 2)),
    Whole(1),
    Whole(2**80),
    Text("t"),
    Pile([1, (2,)]),
    Book(a={1}),
    Square(2),
    OwnError(3, "x"),
    WithMeta(),
]
CLASSES = {type(value) for value in VALUES}


@task_token_guard()
def echo(value):
    return value


@task_token_guard()
def inspect_in_core(values):
    """What only holds there if the classes came over whole."""
    assert os.getpid() != PARENT
    by_type = {type(value).__name__: value for value in values}
    assert Colour.RED.other is Colour.GREEN
    assert Colour.CRIMSON is Colour.RED
    assert by_type["Colour"] in list(Colour)
    assert Planet.MARS.radius == 3.39
    assert by_type["Planet"].mass in {5.97, 0.64}
    assert by_type["Labelled"].label == "P.Y"
    assert type(by_type["Labelled"])(1) is by_type["Labelled"]
    assert Right.READ in (Right.READ | Right.WRITE)
    assert by_type["Name"] == "alice"
    point = by_type["Point"]
    assert isinstance(point, Point)
    assert dataclasses.fields(point)[0].default is dataclasses.MISSING
    assert point.moved().x == point.x + 1
    assert dataclasses.asdict(point) == {"x": 1.0, "y": 0.0, "tags": ["t"]}
    for instance in (by_type["Slim"], by_type["Slotted"]):
        assert not hasattr(instance, "__dict__")
    assert by_type["Slotted"].hidden == 3
    assert Slim(a=1) < Slim(a=2)
    tagged = by_type["Tagged"]
    assert isinstance(tagged, Row)
    assert msgspec.json.encode(tagged) == msgspec.json.encode(
        {"type": "tagged", "a": 1, "b": [2], "next": None, "firstName": "n", "@at": 3}
    )
    try:
        Tagged(-1, first_name="n")
    except ValueError as error:
        assert error.args == (Tagged,)
    else:
        raise AssertionError("no __post_init__")
    assert Row(1).b is not Row(1).b
    assert by_type["Row"].grown() == Row(2, [2, 1])
    assert msgspec.msgpack.encode(by_type["Frozen"]) == b"\x91\x01"
    assert hash(by_type["Frozen"]) == hash(Frozen(1))
    assert issubclass(Square, Shape)
    assert by_type["Square"].area() == 4
    assert by_type["WithMeta"].by_meta
    try:
        Shape()
    except TypeError:
        pass
    else:
        raise AssertionError("an abstract class was instantiated")
    return Square.made


@task_token_guard()
def made_there():
    """Instances that no caller ever had."""
    return [
        Colour.GREEN,
        Point(2.0),
        Slim(a=2),
        Slotted(4),
        Pair(3, 4),
        Typed(5),
        Row(6),
        Tagged(7, first_name="k"),
        Square(8),
        Planet.EARTH,
        Labelled.PX,
    ]


@task_token_guard()
def make_class():
    """An instance of a class that only the core process knows."""

    @dataclasses.dataclass
    class Local(Point):
        z: int = 0

    return Local(1.0, z=5)


@task_token_guard()
def fail():
    raise OwnError(7)


@task_token_guard()
def call(function, *args):
    return function(*args)


@task_token_guard()
def count_up():
    """A class and a function share the module's global variables, as they do in the caller."""
    COUNT.append(0)
    return Counter().up(), len(COUNT)


COUNT: list[int] = []


class Counter:
    def up(self):
        COUNT.append(1)
        return len(COUNT)


PARENT = os.getpid()


async def main():
    before = {cls: dict(vars(cls)) for cls in (*CLASSES, Shape, Meta)}
    async with OperationsCoordinator(cores=2):
        for value, back in zip(VALUES, await asyncio.gather(*map(echo, VALUES)), strict=True):
            assert type(back) is type(value), value
            assert same(back, value), value
            if isinstance(value, enum.Enum):
                assert back is value
        nested = {"k": [VALUES, (set(Colour), frozenset(Size))], 1: CLASSES}
        assert same(await echo(nested), nested)
        assert await echo(Point) is Point
        await inspect_in_core(VALUES)
        for back in await made_there():
            assert type(back) in CLASSES, back
        local = await make_class()
        assert isinstance(local, Point)
        assert type(local).__name__ == "Local"
        assert (local.x, local.z) == (1.0, 5)
        try:
            await fail()
        except OwnError as error:
            assert type(error) is OwnError
            assert error.code == 7
            assert "fail" in str(error.__cause__)
        base = 40
        assert await call(lambda x: Point(x + base), 2) == Point(42)
        assert (await call(lambda: lambda y: Row(y + base)))(2) == Row(42)
        assert await call(typed(abs), -3) == 3
        assert await count_up() == (2, 2)

        class Nested(Point):
            pass

        assert type(await echo(Nested(1.0))) is Nested
        for unsuitable in (io.TextIOWrapper(io.BytesIO()), (x for x in "abc")):
            try:
                echo(unsuitable)
            except PayloadError as error:
                assert "argument 1 ('value')" in str(error)
            else:
                raise AssertionError(f"{unsuitable} was sent")
            unsuitable.close()
        # Nothing above has changed a class of the caller.
        for cls, attributes in before.items():
            attributes.setdefault("__slotnames__", None)  # copyreg's memory
            assert vars(cls).keys() | {"__slotnames__"} == attributes.keys(), cls
            for name, attribute in attributes.items():
                if name != "__slotnames__" and (cls, name) != (Square, "made"):
                    assert vars(cls)[name] is attribute, (cls, name)


asyncio.run(main())
sys.stdout.write("all exact\n")
