"""Errors of what cannot be pickled name the way to it."""

from __future__ import annotations

import functools
import socket
import time

import pytest

from tokengate_mp import OperationsCoordinator, PayloadError, TokenGateExecutor
from tokengate_mp.wire.payload.codec import arguments_to_pickle, to_pickle
from tokengate_mp.wire.payload.diagnosis.path import find_culprit, refused_function


class Stubborn:
    """Is never pickled."""

    def __reduce__(self):
        raise TypeError("I stay here")


class Slotted:
    __slots__ = ("empty", "handle")

    def __init__(self, handle):
        self.handle = handle


class Row:
    def __init__(self, handle):
        self.number = 1
        self.handle = handle


STUBBORN = Stubborn()


def script(source: str, **variables: object) -> dict[str, object]:
    """Run the source of a script that stands in no module."""
    scope: dict[str, object] = {"__name__": "__main__", "Stubborn": Stubborn, **variables}
    exec(source, scope)  # noqa: S102 - of this test
    return scope


def way(thing):
    """Find the culprit of a thing that cannot be pickled."""
    with pytest.raises(TypeError, match="I stay here") as caught:
        to_pickle(thing)
    return find_culprit(thing, caught.value, to_pickle)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ([1, {"a": (2, STUBBORN)}], "[1]['a'][1]"),
        ({"rows": [Row(1), Row(STUBBORN)]}, "['rows'][1].handle"),
        (Slotted([STUBBORN]), ".handle[0]"),
        ({1: {frozenset({STUBBORN})}}, "[1] (a member) (a member)"),
        ({STUBBORN: 1}, " (the key <Stubborn>)"),
        ({"k" * 100: STUBBORN}, f"['{'k' * 39}…]"),
        (ValueError("bad", STUBBORN), ".args[1]"),
        (functools.partial(print, 1, end=STUBBORN), ".keywords['end']"),
        (Row([STUBBORN]).__init__, ".__self__.handle[0]"),
        ([*range(10_000), STUBBORN], "[10000]"),
        ([[n] for n in range(1000)] + [[Row(STUBBORN)]], "[1000][0].handle"),
        (STUBBORN, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "of",
)
def test_the_way_within_a_value(thing, words):
    """Items, keys, attributes, slots and arguments are named on the way to the innermost part."""
    found = way(thing)
    assert (found.way, found.thing) == (words, STUBBORN)
    assert "I stay here" in str(found.error)


SCRIPT = """
import functools
HANDLE = Stubborn()
class Base:
    limit = 3
class Report(Base):
    def add(self, n):
        return summarize(n), HANDLE
    @property
    def total(self):
        return HANDLE
    @classmethod
    def made(cls):
        return HANDLE
    kept = {"open": [HANDLE]}
class Clean:
    def add(self, n):
        return inner(n)
def inner(n):
    def within():
        return [HANDLE for _ in range(n)]
    return within()
def summarize(n):
    return Clean().add(n)
def job(n):
    return summarize(n)
def cyclic(n):
    return other(n), HANDLE
def other(n):
    return cyclic(n)
def by_default(n, *, handle=HANDLE):
    return handle
def by_position(n, handle=HANDLE):
    return handle
def enclosing():
    handle = {"x": HANDLE}
    return lambda: handle
enclosed = enclosing()
def marked():
    pass
marked.handle = HANDLE
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("job", " → summarize → Clean.add → inner → HANDLE"),
        ("inner", " → HANDLE"),
        ("cyclic", " → HANDLE"),
        ("by_default", " → the default of 'handle'"),
        ("by_position", " → the default of 'handle'"),
        ("enclosed", " → handle['x']"),
        ("marked", ".handle"),
        ("Report", ".kept['open'][0]"),
    ],
)
def test_the_way_from_a_function(name, words):
    """Globals, closures, defaults, attributes and members of classes are named, through cycles."""
    scope = script(SCRIPT)
    found = way(scope[name])
    assert type(found.thing) is Stubborn
    if name != "Report":  # whose members come in any order
        assert found.way == words
    text = str(refused_function("op", scope[name], found.error, to_pickle))
    assert "of type Stubborn: TypeError: I stay here" in text


def test_errors_of_calls_have_the_way():
    """The way is in the errors of functions, arguments, items of maps, results and initargs."""
    scope = script(SCRIPT)
    with TokenGateExecutor(1) as executor, OperationsCoordinator(cores=1) as coordinator:
        error = executor.submit(scope["job"], 1).exception()
        assert "job → summarize → Clean.add → inner → HANDLE, of type Stubborn" in str(error)
        with pytest.raises(PayloadError, match="sent to a core process: job → summarize → Clean"):
            list(executor.map(scope["job"], [1]))
        with pytest.raises(PayloadError, match=r"argument 2\[1\]\.handle, of type Stubborn"):
            coordinator.submit(print, 1, [0, Row(STUBBORN)])
        with pytest.raises(PayloadError, match=r"an item\.handle, of type Stubborn, cannot be"):
            list(coordinator.map(id, [Row(STUBBORN)]))
        with pytest.raises(PayloadError, match=r"argument 2 of an item\.handle, of type Stubborn"):
            list(executor.map(max, [1], [Row(STUBBORN)]))
        error = executor.submit(lambda: {"a": [1, (n for n in "1")]}).exception()
        assert "the result['a'][1], of type generator, cannot be sent back" in str(error)
    with pytest.raises(PayloadError, match=r"argument 'rows'\[1\]\.handle, of type Stubborn, can"):
        arguments_to_pickle("op", (), {"rows": [1, Row(STUBBORN)]}, list)


def test_advice_fits_the_thing():
    """What is inherited is to be given by initargs; what says itself what to do is not added to."""
    with socket.socket() as open_socket, pytest.raises(PayloadError) as caught:
        arguments_to_pickle("op", ([open_socket],), {}, list)
    assert "argument 1[0], of type socket" in str(caught.value)
    assert str(caught.value).endswith("as one of the `initargs` of an `initializer`")
    import multiprocessing

    with pytest.raises(PayloadError, match=r"Give it to .* `initargs` of an `initializer`\.$"):
        arguments_to_pickle("op", ([multiprocessing.Event()],), {}, list)


def test_the_search_ends_soon():
    """What is large and fails late is looked into for a moment, and then named without a way."""
    rows = [[Row(number) for number in range(100)] for _ in range(200)]
    rows.append([Row(STUBBORN)])
    began = time.monotonic()
    with pytest.raises(TypeError) as caught:
        to_pickle(rows)
    once = time.monotonic() - began
    began = time.monotonic()
    find_culprit(rows, caught.value, to_pickle)
    assert time.monotonic() - began < 3 * once + 1


def test_objects_that_raise_when_looked_at_do_no_harm():
    """Whatever a user's object does when asked for its parts, there is the error."""

    class Sly(list[int]):
        def __iter__(self):
            raise RuntimeError("iter")

        def __getattribute__(self, name):
            raise RuntimeError(name)

    with pytest.raises(PayloadError, match="argument 1"):
        arguments_to_pickle("op", (Sly([1]),), {}, list)


class Shy(type):
    """A class of classes that do not tell their name."""

    @property
    def __name__(cls):
        raise SystemExit(1)


class Base(metaclass=Shy):
    def __reduce__(self):
        raise TypeError("I stay here")


class Derived(Base):
    pass


class Closed(list):
    """A list that does not let anybody look."""

    def __iter__(self):
        raise SystemExit(2)

    def __reduce__(self):
        raise TypeError("I stay here")


class Leaving:
    """What ends the program when it is pickled."""

    def __reduce__(self):
        raise SystemExit(3)


def test_what_hides_its_name_is_looked_at_without_asking():
    """Classes, bases and keys of a metaclass that raises where a name is asked for."""
    assert way([Derived()]).way.startswith("[0]")
    assert type(way({Derived(): 1}).thing) is Derived
    assert type(way(Derived()).thing) is Derived


def test_what_raises_system_exit_when_looked_at_is_not_looked_into():
    """The search goes on without, as what it looks for raised something else."""
    assert way([1, Closed([2])]).way == "[1]"
    found = find_culprit([Leaving(), STUBBORN], TypeError("I stay here"), to_pickle)
    assert found.way == "[1]"


def test_control_c_stops_the_search():
    """What comes from outside while it looks is no answer of the object's."""
    came = []

    def pickle_once(_value):
        if not came:
            came.append(1)
            raise KeyboardInterrupt
        raise TypeError("I stay here")

    with pytest.raises(KeyboardInterrupt):
        find_culprit([STUBBORN], TypeError("I stay here"), pickle_once)
