"""A batch of items, in the process that runs it."""

from __future__ import annotations

import pytest

from tokengate_mp.wire.batches import decode_batch
from tokengate_mp.wire.codec import loads
from tokengate_mp.worker.batch import ManyCalls


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
def test_a_batch_whose_time_is_up_does_one_item_at_least(function):
    """It comes back with what it has done, and the rest can be sent again: nothing is lost."""
    many, items, done = ManyCalls(function, 0), list(range(10)), []
    while len(done) < len(items):
        outcome = decode_batch(many(1, items[len(done) :]))
        assert outcome.values
        for place, value in enumerate(outcome.values):
            done.append("raised" if place in outcome.raised else value)
    expected = [double(n) if function is double else n for n in items]
    if function is picky:
        expected = ["raised" if n % 2 else n for n in items]
    assert done == expected


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
