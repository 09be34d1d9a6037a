"""A feed: every item is sent and given back once, whatever becomes of its batches on the way."""

from __future__ import annotations

import asyncio
import itertools
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokengate_mp.bulk.feed as feed_module
import tokengate_mp.bulk.source as source_module
from tokengate_mp.bulk.feed import Feed
from tokengate_mp.bulk.pace import Pace
from tokengate_mp.bulk.results import opened
from tokengate_mp.config.option_table import token_options
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.model.pacing import OVERHEAD_NS
from tokengate_mp.wire.protocol.batches import RANGE, BatchOutcome, encode_batch

MS = 1_000_000


class Cores:
    """What batches go to: it keeps them until the test says what becomes of them."""

    closed = False
    arena = None

    def __init__(self, cores):
        self.cores = cores
        self.loop = asyncio.new_event_loop()
        self.operation = Operation("double.map", "light", 1)
        self.under_way = {}
        self.withdrawn = []
        self.sent = []
        self._numbers = iter(range(1, 1 << 30))

    def next_number(self):
        return next(self._numbers)

    def enrol(self, function, options, *, divisible=False):
        return 0, self.operation, None

    def forward(self, number, operation, record, function, recipient, *, expected=None):  # noqa: PLR0913
        if expected is not None:
            self.operation.expect(expected)
        _, _, (width, items) = msgspec.msgpack.decode(record)
        items = list(range(*items)) if width == RANGE else items
        self.under_way[number] = items, recipient
        self.sent.append(items)
        return number

    def withdraw(self, token):
        self.withdrawn.append(token)

    def cut(self, number, count):
        """Say that a batch will come back with so many of its items."""
        items, recipient = self.under_way[number]
        recipient.cut(count)
        self.under_way[number] = items[:count], recipient

    def answer(self, number, done=None, ns_each=MS):
        """Let a batch come back with so many of its items done; None: with all."""
        items, recipient = self.under_way.pop(number)
        values = [2 * item for item in items[:done]]
        recipient.set_result(encode_batch(BatchOutcome(ns_each * len(values), values, [], [])))


@pytest.fixture(autouse=True, scope="module")
def no_time():
    """Encoding takes no time, so that how large batches are depends on nothing but the test."""
    with (
        patch.object(feed_module, "monotonic_ns", lambda: 0),
        patch.object(source_module, "monotonic_ns", lambda: 0),
    ):
        yield


@pytest.fixture
def cores():
    """Make `Cores`."""
    made = []

    def make(count):
        made.append(Cores(count))
        return made[-1]

    yield make
    for each in made:
        each.loop.close()


def feed_for(cores, items):
    """A feed of a function of one argument."""
    return Feed(cores, abs, token_options("double"), items, width=1, pace=Pace())


def taken(feed, *, ordered=True):
    """The results that are there, in the order in which they are given."""
    values = []
    while (batch := feed.take_batch(ordered=ordered)) is not None:
        values += opened(batch, "double")[0]
        feed.count_given(batch.count)
    return values


@given(st.data())
def test_each_item_once(data):
    """Batches that come back in any order, each with some of its items done: nothing is lost."""
    count = data.draw(st.integers(0, 500), "items")
    kind = data.draw(st.sampled_from([iter, list, range]), "of")
    ordered = data.draw(st.booleans(), "ordered")
    cores = Cores(data.draw(st.integers(1, 4), "cores"))
    try:
        items = range(-3, 5 * count - 3, 5)
        feed, given_back = feed_for(cores, items if kind is range else kind(items)), []
        feed.fill()
        while cores.under_way:
            number = data.draw(st.sampled_from(sorted(cores.under_way)), "answered")
            most = len(cores.under_way[number][0])
            done = data.draw(st.integers(1, most), "done")
            how = data.draw(st.sampled_from(["back", "cut", "cut and lost"]), "how")
            if how == "back":
                cores.answer(number, done, ns_each=20_000)
            elif how == "cut":  # and it comes back later, with as many as that or fewer
                cores.cut(number, done)
            else:  # it is run again as it was sent, since its process died
                sent = cores.under_way[number]
                cores.cut(number, done)
                cores.under_way[number] = sent
                cores.answer(number, ns_each=20_000)
            given_back += taken(feed, ordered=ordered)
            feed.fill()
        assert feed.is_over()
        expected = [2 * item for item in items]
        assert given_back == expected if ordered else sorted(given_back) == expected
    finally:
        cores.loop.close()


@given(st.data())
def test_a_cancelled_feed_ends(data):
    """Whatever was on its way, came back in part or was still to come: nobody waits for it."""
    ordered = data.draw(st.booleans(), "ordered")
    cores = Cores(data.draw(st.integers(1, 3), "cores"))
    try:
        feed, given_back = feed_for(cores, range(2000)), []
        feed.fill()
        answers = data.draw(st.integers(0, 40), "answers")
        takes = data.draw(st.booleans(), "takes")
        for _ in range(answers):
            number = data.draw(st.sampled_from(sorted(cores.under_way)), "answered")
            most = len(cores.under_way[number][0])
            cores.answer(number, data.draw(st.integers(1, most), "done"), ns_each=20_000)
            if takes:
                given_back += taken(feed, ordered=ordered)
            feed.fill()
            if not cores.under_way:
                break
        feed.stop_feed(LookupError("closed"))
        sent = len(cores.sent)
        given_back += taken(feed, ordered=ordered)
        feed.fill()
        assert len(cores.sent) == sent
        with pytest.raises(LookupError, match="closed"):
            feed.is_over()
        assert feed.is_over()
        if ordered:
            assert given_back == [2 * n for n in range(len(given_back))]
        assert len(given_back) == len(set(given_back))
    finally:
        cores.loop.close()


def batch_under_way(one):
    """A feed with a batch of several items on its way: the feed, the batch's number, the items."""
    feed = feed_for(one, range(1000))
    feed.fill()
    one.answer(1)
    feed.fill()
    number, (items, _) = list(one.under_way.items())[-1]
    assert len(items) > 3
    return feed, number, items


def test_nothing_of_a_cancelled_batch_is_sent_again(cores):
    """It was on its way, and comes back half done: what is left of it is not wanted any more."""
    one = cores(1)
    feed, number, items = batch_under_way(one)
    feed.stop_feed()
    assert sorted(one.withdrawn) == sorted(one.under_way)
    sent = len(one.sent)
    one.answer(number, 1)
    feed.fill()
    assert len(one.sent) == sent
    assert taken(feed, ordered=False) == [0, 2 * items[0]]
    assert feed.is_over()


def test_what_was_cut_off_is_sent_at_once(cores):
    """The batch itself has not come back, and may not for long."""
    one = cores(1)
    feed, number, items = batch_under_way(one)
    rung = []
    feed.bell = lambda: rung.append(None)
    one.cut(number, 3)
    assert rung  # whoever takes results sends more, as soon as there is room
    for other in list(one.under_way):
        if other != number:
            one.answer(other)
    feed.fill()
    again = [item for batch in one.sent for item in batch if batch is not items]
    assert set(items[3:]) <= set(again)
    assert not set(items[:3]) & set(again)


def test_nothing_that_was_cut_off_a_cancelled_batch_is_sent(cores):
    """It was cut just before its core heard of that."""
    one = cores(1)
    feed, number, _ = batch_under_way(one)
    feed.stop_feed()
    sent = len(one.sent)
    one.cut(number, 3)
    feed.fill()
    assert len(one.sent) == sent
    assert taken(feed, ordered=True) == [0]
    assert feed.is_over()


def test_no_more_is_read_than_somebody_may_want(cores):
    """Nobody takes results, however quickly they come: reading ends, and goes on when they are."""
    one = cores(1)
    feed = feed_for(one, itertools.count())

    def run():
        while one.under_way:
            for number in list(one.under_way):
                one.answer(number, ns_each=1)
            feed.fill()
        return sum(len(items) for items in one.sent)

    feed.fill()
    most = run()
    assert feed_module.MOST_UNTAKEN <= most < 2 * feed_module.MOST_UNTAKEN
    for _ in range(10):  # the first ones were small
        feed.count_given(feed.take_batch(ordered=True).count)
    feed.fill()
    assert run() > most


def test_a_slow_source_waits_for_results_that_are_there(cores):
    """They are given before its next item is come to; and it is, when there are none."""
    one = cores(1)
    feed = feed_for(one, itertools.count())
    feed.fill()
    one.answer(1)
    sent = len(one.sent)
    with patch.object(feed._source, "item_ns", feed_module.READING_NS + 1):
        assert not feed.fill(hurried=True)
        assert len(one.sent) == sent
    feed.fill()
    assert len(one.sent) > sent


def test_the_scheduler_is_told_how_long_a_batch_takes(cores):
    """Batches of one operation differ: each is charged what its own items will take."""
    one = cores(1)
    feed = feed_for(one, range(100_000))
    feed.fill()
    one.answer(1, ns_each=20_000)
    for _ in range(3):
        feed.fill()
        expected = len(one.sent[-1]) * 20_000 + OVERHEAD_NS
        assert one.operation.cost == pytest.approx(expected, rel=0.3)
        for number in list(one.under_way):
            one.answer(number, ns_each=20_000)
    assert len(one.sent[-1]) > 100
