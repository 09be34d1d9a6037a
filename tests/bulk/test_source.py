"""The source of a map gives each item once, in order, however it is asked."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokengate_mp.bulk.source as source_module
from tokengate_mp.bulk.meter import total_of
from tokengate_mp.bulk.source import Source


def all_of(source, sizes):
    """Everything that it gives, taken in pieces of these sizes and then of three."""
    sizes, items = iter(sizes), []
    while not source.ended:
        items += source.take_items(next(sizes, 3))
    return items


@given(
    st.integers(-50, 50),
    st.integers(-50, 50),
    st.integers(-9, 9).filter(bool),
    st.sampled_from([lambda each: each, list, tuple, iter, lambda each: (item for item in each)]),
    st.lists(st.integers(1, 20)),
)
def test_each_item_once_and_in_order(start, stop, step, kind, sizes):
    """Of ranges in any direction as of all else."""
    items = range(start, stop, step)
    source = Source(kind(items))
    assert all_of(source, sizes) == list(items)
    assert source.items_left() == 0
    assert source.take_items(5) == ()
    assert source.failure is None


@given(st.integers(0, 100), st.integers(0, 100))
def test_it_knows_what_is_left(count, taken):
    """As far as anybody can."""
    for items in (range(count), list(range(count))):
        source = Source(items)
        source.take_items(taken)
        assert source.items_left() == max(0, count - taken)
    assert Source(item for item in range(3)).items_left() is None


def test_a_range_beyond_all_lengths():
    """Nobody can say how long it is, and it is taken from all the same."""
    source = Source(range(10**30, 10**60, 10**29))
    assert source.items_left() is None
    assert list(source.take_items(2)) == [10**30, 10**30 + 10**29]
    assert not source.ended
    assert total_of([range(10**30)]) is None
    assert total_of([range(10**30), range(3)]) is None
    assert total_of([range(7), [1, 2, 3]]) == 3


def test_a_range_is_cut():
    """Nothing of it is made that was not asked for."""
    assert Source(range(100)).take_items(10) == range(10)


def test_what_came_before_a_failure_is_given():
    """And the failure is kept for whoever comes to its place."""

    def two():
        yield 1
        yield 2
        raise LookupError("no third")

    source = Source(two())
    assert source.take_items(10) == [1, 2]
    assert source.ended
    assert isinstance(source.failure, LookupError)


@pytest.mark.parametrize("items", [range(10), list(range(10))])
def test_it_can_be_ended(items):
    """Nothing is given any more."""
    source = Source(items)
    source.take_items(3)
    source.stop_reading()
    assert source.take_items(3) == ()
    assert source.items_left() == 0


def test_an_iterable_may_end_it():
    """From within, while it is taken from."""

    def quitter():
        yield 1
        source.stop_reading()
        yield from range(2, 10)

    source = Source(quitter())
    assert source.take_items(3) == [1, 2, 3]
    assert source.ended


@given(st.lists(st.integers(0, 10), max_size=200), st.integers(1, 300), st.integers(0, 400))
def test_a_slow_source_is_left_when_time_is_up(pauses, size, until):
    """At least one item is taken, none is lost, and it takes no more than twice the time."""
    clock = [0]

    def slow():
        for number, pause in enumerate(pauses):
            clock[0] += pause
            yield number

    with patch.object(source_module, "monotonic_ns", lambda: clock[0]):
        source, taken = Source(slow()), []
        while not source.ended:
            began = len(taken)
            taken += source.take_items(size, clock[0] + until)
            of_these = pauses[began : len(taken)]
            assert source.ended or 1 <= len(of_these) <= size
            if len(set(pauses)) == 1:
                assert sum(of_these) <= 2 * (until + pauses[0])
    assert taken == list(range(len(pauses)))


def test_how_slow_a_source_is():
    """By the items that were taken last."""
    clock = [0]

    def slow():
        for number in range(8):
            clock[0] += 10 if number < 4 else 2
            yield number

    with patch.object(source_module, "monotonic_ns", lambda: clock[0]):
        source = Source(slow())
        assert source.item_ns == 0
        assert (source.take_items(4), source.item_ns) == ([0, 1, 2, 3], 10)
        assert (source.take_items(4), source.item_ns) == ([4, 5, 6, 7], 2)
