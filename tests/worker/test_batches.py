"""A batch of items, in the process that runs it."""

from __future__ import annotations

from time import monotonic_ns

import pytest

from tokengate_mp.wire.batches import decode_batch
from tokengate_mp.wire.codec import loads
from tokengate_mp.worker import overdue
from tokengate_mp.worker.batch import ManyCalls

MOST_NS = 3600 * 10**9


def double(number):
    """Give twice as much."""
    return 2 * number


def picky(number):
    """Refuse what is odd; one is refused in a way that looks like the end of something."""
    if number == 3:
        raise StopIteration
    if number % 2:
        raise ValueError(number)
    return number


def test_a_batch_without_a_limit_does_all():
    """However long that takes."""
    outcome = decode_batch(ManyCalls(double)(1, range(1000)))
    assert outcome.values == list(range(0, 2000, 2))
    assert not outcome.raised


@pytest.mark.parametrize("function", [double, picky])
@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_batch_whose_time_is_up_ends_with_the_item_that_is_being_done(function, width, at):
    """It comes back with what it has done, and the rest can be sent again: nothing is lost."""
    items, done = list(range(10)), []

    def look(number, *_more):
        if number == at:
            assert overdue.curtail(monotonic_ns()) > 0  # its time is not up
            assert overdue.curtail(monotonic_ns() + MOST_NS) is None
        return function(number)

    many = ManyCalls(look, MOST_NS)
    while len(done) < len(items):
        rest = [item for item in items[len(done) :] for _ in range(width)]
        outcome = decode_batch(many(width, rest))
        for place, value in enumerate(outcome.values):
            done.append("raised" if place in outcome.raised else value)
        assert len(done) == (at + 1 if len(done) <= at + 1 else len(items))
    expected = [double(n) if function is double else n for n in items]
    if function is picky:
        expected = ["raised" if n % 2 else n for n in items]
    assert done == expected


def test_a_batch_does_one_item_at_least():
    """One whose time is up before it begins would be sent again for ever."""
    items = list(range(10))
    with overdue.limited(items, 0):
        overdue.curtail(1)
    assert items == [0]


def test_a_batch_within_a_batch():
    """A thread that waits runs other tokens: what it comes back to has its time still."""

    def inner(number):
        if number == 2:
            overdue.curtail(monotonic_ns() + MOST_NS)
        return number

    def outer(number):
        if number == 1:
            assert decode_batch(ManyCalls(inner, MOST_NS)(1, range(5))).values == [0, 1, 2]
        if number == 3:
            overdue.curtail(monotonic_ns() + MOST_NS)
        return number

    assert decode_batch(ManyCalls(outer, MOST_NS)(1, range(6))).values == [0, 1, 2, 3]
    assert overdue.curtail(0) is None


def test_scalars_stay_as_they_are_among_what_is_pickled():
    """Only what msgpack cannot carry exactly is pickled; a scalar that it cannot carry is."""
    results = [1, "one", (1, 2), None, 2.5, {3}, b"raw", 1 << 70]
    outcome = decode_batch(ManyCalls(results.__getitem__)(1, range(len(results))))
    assert {2, 5, 7} <= set(outcome.pickled)
    got = [
        loads(value) if place in outcome.pickled else value
        for place, value in enumerate(outcome.values)
    ]
    assert got == results
    assert [type(value) for value in got] == [type(value) for value in results]
    small = decode_batch(ManyCalls(results.__getitem__)(1, range(7)))
    assert small.pickled == [2, 5]
