"""A batch of items, in the process that runs it."""

from __future__ import annotations

import sys
import threading
from time import monotonic_ns

import pytest

from tokengate_mp.wire.payload.codec import loads
from tokengate_mp.wire.protocol.batches import decode_batch
from tokengate_mp.worker.run import cutting
from tokengate_mp.worker.run.batch import ManyCalls
from tokengate_mp.worker.run.cutting import Cut

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
            assert cutting.cut_overdue(monotonic_ns())[0] == []  # its time is not up
            assert cutting.cut_overdue(monotonic_ns() + MOST_NS)[1] is None
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
    with cutting.cuttable(7, items, 0) as rest:
        assert cutting.cut_overdue(1) == ([Cut(7, 1)], None)
        assert list(rest) == [0]


@pytest.mark.parametrize("at", [0, 3, 8, 9])
def test_what_is_said_of_a_cut_batch_is_what_it_comes_back_with(at):
    """The item that is being done is the last one of it; and it is cut once."""
    cuts = []

    def look(number):
        if number == at:
            cuts.extend(cutting.cut_all())
            cuts.extend(cutting.cut_all())
        return number

    outcome = decode_batch(ManyCalls(look, MOST_NS)(1, range(10)))
    assert outcome.values == list(range(at + 1))
    assert cuts == ([Cut(0, at + 1)] if at < 9 else [])  # nothing was left of it


def test_a_batch_is_cut_between_any_two_items():
    """Another thread does it, whenever that gets to run: what it says is exact all the same."""
    many, cuts, ended = ManyCalls(double, MOST_NS), [], threading.Event()

    def cut():
        while not ended.is_set():
            cuts.extend(cutting.cut_all())

    cutter = threading.Thread(target=cut)
    cutter.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        shortened = []
        for _ in range(200):
            done = len(decode_batch(many(1, range(5000))).values)
            if done < 5000:
                shortened.append(done)
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        cutter.join()
    assert cuts
    # (One that had come to its end when the cutter looked is said nothing of.)
    said = iter(shortened)
    assert all(cut.items in said for cut in cuts)


def test_a_batch_within_a_batch():
    """A thread that waits runs other tokens: what it comes back to has its time still."""

    def inner(number):
        if number == 2:
            cutting.cut_overdue(monotonic_ns() + MOST_NS)
        return number

    def outer(number):
        if number == 1:
            assert decode_batch(ManyCalls(inner, MOST_NS)(1, range(5))).values == [0, 1, 2]
        if number == 3:
            cutting.cut_overdue(monotonic_ns() + MOST_NS)
        return number

    assert decode_batch(ManyCalls(outer, MOST_NS)(1, range(6))).values == [0, 1, 2, 3]
    assert cutting.cut_overdue(0) == ([], None)


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
