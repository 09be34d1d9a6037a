"""submit(): every kind of callable, without decorating it first."""

from __future__ import annotations

import functools
import math
import operator
import threading
from fractions import Fraction
from functools import partial

import pytest
import work

from tokengate_mp import CoordinatorNotRunning, OperationsCoordinator, PayloadError, TokenState


@pytest.fixture(scope="module")
def coordinator():
    """A coordinator with one core."""
    with OperationsCoordinator(cores=1) as running:
        yield running


class Counter:
    def __init__(self, value: int) -> None:
        self.value = value

    def plus(self, other: int) -> int:
        return self.value + other

    def __call__(self, other: int) -> int:
        return self.value * other

    @classmethod
    def made(cls, value: int) -> int:
        return cls(value).value

    @staticmethod
    def negated(value: int) -> int:
        return -value


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "expected"),
    [
        (work.apply, (max, 3, 5), {}, 5),
        (lambda a, b=2: a * b, (4,), {"b": 5}, 20),
        (math.sqrt, (9.0,), {}, 3.0),
        (max, ([3, 7, 5],), {"key": operator.neg}, 3),
        ("abc".upper, (), {}, "ABC"),
        (str.upper, ("abc",), {}, "ABC"),
        (int.__add__, (3, 4), {}, 7),
        ((3).__add__, (4,), {}, 7),
        ([3, 1].count, (1,), {}, 1),
        (Counter(5).plus, (6,), {}, 11),
        (Counter(5), (6,), {}, 30),
        (Counter.made, (5,), {}, 5),
        (Counter.negated, (5,), {}, -5),
        (functools.partial(divmod, 17), (5,), {}, (3, 2)),
        (functools.partial(int, base=2), ("101",), {}, 5),
        (Fraction, (3, 6), {}, Fraction(1, 2)),
        (dict, (), {"a": 1}, {"a": 1}),
        (operator.itemgetter(1), ("abc",), {}, "b"),
        (operator.methodcaller("upper"), ("abc",), {}, "ABC"),
        (work.square, (9,), {}, 81),
    ],
)
def test_every_kind_of_callable(coordinator, function, args, kwargs, expected):
    """Functions, lambdas, built-ins, methods, partials, classes, instances, decorated ones."""
    token = coordinator.submit(function, *args, **kwargs)
    result = token.get(20)
    assert (type(result), result) == (type(expected), expected)
    assert token.state is TokenState.COMPLETED


def test_a_closure(coordinator):
    """A function nested in another travels with what it refers to."""
    base = [1, 2]

    def total(*more: int) -> int:
        return sum(base) + sum(more)

    assert coordinator.submit(total, 3).get(20) == 6


def test_an_instance_of_a_local_class(coordinator):
    """A class that no name leads to travels too, and comes back as the caller's own."""

    class Local:
        def __init__(self, value: int) -> None:
            self.value = value

        def grown(self) -> Local:
            return Local(self.value + 1)

    assert coordinator.submit(Local(1).grown).get(20).value == 2
    assert type(coordinator.submit(Local, 4).get(20)) is Local


def test_what_a_callable_holds_is_a_snapshot_of_each_call(coordinator):
    """A bound method, an instance or a partial is sent as it is at each call."""
    counter, numbers = Counter(1), []
    plus, count = counter.plus, numbers.count
    held = functools.partial(len, numbers)
    seen = []
    for turn in range(3):
        counter.value = turn
        numbers.append(7)
        seen.append([coordinator.submit(call, 7) for call in (plus, counter, count)])
        seen[-1].append(coordinator.submit(held))
    results = [[token.get(20) for token in tokens] for tokens in seen]
    assert results == [[turn + 7, turn * 7, turn + 1, turn + 1] for turn in range(3)]


def _functions_here() -> int:
    """How many functions the crew of this core process knows."""
    import gc

    from tokengate_mp.worker.crew.crew import Crew

    (crew,) = (thing for thing in gc.get_objects() if isinstance(thing, Crew))
    return len(crew.functions)


def test_many_different_lambdas(coordinator):
    """Each lambda of a loop is itself, however many there are, and none of them is kept."""
    tokens = [coordinator.submit(lambda x, n=n: x + n, 1) for n in range(500)]
    assert [token.get(20) for token in tokens] == list(range(1, 501))
    del tokens
    assert coordinator.submit(abs, -1).get(20) == 1
    assert len(coordinator._run.engine.intake.functions.known) < 100


async def _coroutine() -> None: ...


def _generator():
    yield


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (_coroutine, "a coroutine function"),
        (_generator, "a generator function"),
        (functools.partial(_coroutine), "a coroutine function"),
        (5, "int is not callable"),
        (None, "NoneType is not callable"),
    ],
)
def test_what_cannot_be_a_token_is_refused(coordinator, what, words):
    """Coroutine and generator functions and non-callables are a TypeError at the call."""
    with pytest.raises(TypeError, match=words):
        coordinator.submit(what)


def test_what_cannot_be_sent_is_refused(coordinator):
    """A callable or an argument that will not pickle is a PayloadError at the call."""
    lock = threading.Lock()
    with pytest.raises(PayloadError):
        coordinator.submit(lambda: lock)
    with pytest.raises(PayloadError):
        coordinator.submit(lock.acquire)
    with pytest.raises(PayloadError, match="argument 1"):
        coordinator.submit(len, lock)
    with pytest.raises(PayloadError, match="argument 1, of type lock"):
        coordinator.submit(partial(len), lock)
    assert coordinator.submit(len, "abc").get(20) == 3


def test_the_operation_is_named_after_the_callable(coordinator):
    """The operation is that of the function, or of the type of another callable."""
    assert coordinator.submit(math.sqrt, 4.0).operation_type == "math.sqrt"
    assert coordinator.submit(Counter(1), 4).operation_type == "test_submit.Counter"
    assert coordinator.submit(Counter(1).plus, 4).operation_type == "test_submit.Counter.plus"
    assert coordinator.submit(work.square, 4).operation_type == "square"
    names = set(coordinator.get_stats()["operations"])
    assert {"math.sqrt", "test_submit.Counter", "square"} <= names


def test_only_the_running_coordinator_takes_submissions(coordinator):
    """submit() on another coordinator than the running one is refused."""
    with pytest.raises(CoordinatorNotRunning):
        OperationsCoordinator(cores=1).submit(abs, 1)
