"""Callables of every kind, and parameters of every name."""

from __future__ import annotations

import datetime as dt
import functools
import operator
import re
import types

import pytest

from tokengate_mp import OperationsCoordinator, TokenGateExecutor, task_token_guard
from tokengate_mp.calls.decorator import operation_name


class Scale:
    """A class that is called, and whose instances are, with names that decorated functions have."""

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.called = self.options = None  # as attributes of a decorated function are called

    def __call__(self, value: int) -> int:
        return value * self.factor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scale) and other.factor == self.factor

    __hash__ = None  # type: ignore[assignment]

    def map(self, value: int) -> int:
        return self(value) + 1

    @classmethod
    def made(cls, factor: int) -> Scale:
        return cls(factor)

    @staticmethod
    def doubled(value: int) -> int:
        return value * 2

    by_two = functools.partialmethod(map, 2)  # noqa: A003 - the method


class Sly:
    """A callable that raises whatever it is asked, and says nothing true."""

    __module__ = None  # type: ignore[assignment]

    def __call__(self, value: int) -> int:
        return value

    def __getattr__(self, name: str) -> int:
        if name in {"__name__", "__qualname__", "__wrapped__", "__objclass__"}:
            raise RuntimeError(name)
        raise AttributeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Wrong(type):
    """A metaclass whose classes give another thing when they are called."""

    def __call__(cls, *args: object) -> object:
        return ["wrong", *args]


class Odd(metaclass=Wrong):
    """Of that metaclass."""


@functools.lru_cache
def cached(value):
    """Have its values cached."""
    return value + 3


@functools.singledispatch
def kind(_value):
    """Give the kind of a value, by its type."""
    return "any"


@kind.register
def _(_value: int):
    return "int"


def shout(function):
    """Wrap a function."""

    @functools.wraps(function)
    def shouting(*args):
        return f"{function(*args)}!"

    return shouting


@shout
def word(value):
    """Be wrapped."""
    return value


def plain(value):
    """Be nothing but a function."""
    return value


CALLS = [
    (str.upper, "a"),
    (dict.get, {1: 2}, 1),
    ("-".join, ["a", "b"]),
    (dict.fromkeys, [1]),
    (operator.itemgetter(0), [7]),
    (operator.methodcaller("upper"), "a"),
    (int.__add__, 1, 2),
    ((5).__add__, 3),
    ([1].__len__,),
    (int.__repr__, 7),
    (dt.date.isoformat, dt.date(2020, 1, 2)),
    (re.compile("a+").sub, "-", "caab"),
    (types.MappingProxyType({1: 2}).get, 1),
    (getattr, 3, "real"),
    (int.from_bytes, b"a", "big"),
    (functools.reduce, operator.add, [1, 2]),
    (functools.partial(int, base=2), "101"),
    (functools.partial(Scale(3).map, 2),),
    (Scale, 3),
    (Scale(3), 2),
    (Scale(3).map, 2),
    (Scale(3).by_two,),
    (Scale.made, 4),
    (Scale.doubled, 4),
    (vars(Scale)["doubled"], 4),
    (Sly(), 5),
    (Odd, 5),
    (cached, 5),
    (kind, 5),
    (word, 5),
    (lambda value: value * 2, 5),
]


def test_every_callable_is_called_by_executors_coordinators_and_decorated():
    """Whatever can be called here can be called there, by each way, with the same value."""
    with TokenGateExecutor(1) as executor, OperationsCoordinator(cores=1) as coordinator:
        for function, *args in CALLS:
            expected = function(*args)
            rows = [[each] for each in args]
            values = [
                executor.submit(function, *args).result(),
                coordinator.submit(function, *args).get(),
                task_token_guard()(function)(*args).get(),
            ]
            if rows:
                values += executor.map(function, *rows)
                values += coordinator.map(function, *rows)
                values += task_token_guard()(function).map(*rows)
            assert values == [expected] * len(values), operation_name(function)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (plain, f"{__name__}.plain"),
        (functools.partial(functools.partial(plain, 1)), f"{__name__}.plain"),
        (Scale(1).map, f"{__name__}.Scale.map"),
        (Scale(1), f"{__name__}.Scale"),
        (Scale, f"{__name__}.Scale"),
        (cached, f"{__name__}.cached"),
        (str.upper, "builtins.str.upper"),
        ("".join, "builtins.str.join"),
        ((5).__add__, "builtins.int.__add__"),
        (dict.fromkeys, "builtins.dict.fromkeys"),
        (vars(dict)["fromkeys"], "builtins.dict.fromkeys"),
        (re.compile("a").match, "re.Pattern.match"),
        (len, "builtins.len"),
        (operator.itemgetter(0), "operator.itemgetter"),
    ],
    ids=lambda value: value if isinstance(value, str) else "of",
)
def test_the_name_of_an_operation_is_that_of_the_function(function, name):
    """The operation of a callable says which function it calls, or of which type it is."""
    assert operation_name(function) == name


def test_a_callable_that_says_nothing_true_has_the_name_of_its_class():
    """What an object raises, or says, when asked for its name is no matter."""
    assert operation_name(Sly()) == "Sly"


def spread(**kwargs):
    """Take any name."""
    return kwargs


NAMES = dict.fromkeys(
    (
        *("self", "fn", "function", "operation", "operation_type", "token", "timeout", "args"),
        *("kwargs", "number", "index", "call", "carried", "options", "home", "weight", "instance"),
        *("request", "cls", "iterable", "items", "width", "value"),
    ),
    1,
)


class Holder:
    @task_token_guard()
    def spread(self, /, **kwargs):
        return kwargs


@task_token_guard()
def nested():
    """Make calls with any names inside a token."""
    plainly = task_token_guard()(spread)(**NAMES)
    return [plainly.get(), Holder().spread(**NAMES).get()]


def test_a_parameter_may_have_any_name():
    """What a function's parameters are called collides with nothing on the way of its call."""
    with TokenGateExecutor(1) as executor:
        assert executor.submit(spread, **NAMES).result() == NAMES
        assert executor.submit(functools.partial(spread), **NAMES).result() == NAMES
    with OperationsCoordinator(cores=1) as coordinator:
        assert task_token_guard()(spread)(**NAMES).get() == NAMES
        assert task_token_guard(context=True)(spread)(**NAMES).get() == NAMES
        assert task_token_guard(sticky_anchor="one")(spread)(**NAMES).get() == NAMES
        assert coordinator.submit(spread, **NAMES).get() == NAMES
        assert coordinator.submit(functools.partial(spread), **NAMES).get() == NAMES
        assert Holder().spread(**NAMES).get() == NAMES
        assert nested().get() == [NAMES, NAMES]


def test_a_class_is_mapped_although_it_has_attributes_named_as_a_decorated_function_has():
    """The attributes of a class that is mapped do not go before the methods of the wrapper."""
    with OperationsCoordinator(cores=1) as coordinator:
        assert list(coordinator.map(Scale, [1, 2])) == [Scale(1), Scale(2)]
        assert coordinator.submit(Scale, 3).get() == Scale(3)
