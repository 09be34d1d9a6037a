"""How many items a batch has."""

from __future__ import annotations

from tokengate_mp.bulk.pace import GROWTH, MOST_ITEMS, SHORTEST_NS, TARGET_NS, Pace


def test_unknown_items_go_alone():
    """Nothing is known of a function that was never called."""
    assert Pace().size(None, 4) == 1
    assert Pace().size(1000, 4) == 1


def test_batches_take_the_time_they_are_meant_to():
    """Once durations are known, a batch is as long as the target, and long items go alone."""
    pace = Pace()
    for _ in range(20):
        items = pace.size(None, 2)
        pace.observe(items, items * 100_000)
    assert pace.size(None, 2) == TARGET_NS // 100_000
    pace.observe(50, 50 * TARGET_NS * 1000)
    assert pace.size(None, 2) == 1


def test_batches_grow_step_by_step():
    """One short duration may mislead, so what follows is bounded; and there is an upper bound."""
    pace = Pace()
    pace.observe(1, 10)
    assert pace.size(None, 2) == GROWTH
    for _ in range(5):
        items = pace.size(None, 2)
        pace.observe(items, items * 10)
    assert pace.size(None, 2) == MOST_ITEMS


def test_the_end_is_even():
    """The last items are shared out among the cores, but not in batches not worth sending."""
    pace = Pace()
    for _ in range(10):
        items = pace.size(None, 2)
        pace.observe(items, items * 10_000)
    assert pace.size(400, 2) == 100
    assert pace.size(4, 2) == SHORTEST_NS // 10_000


def test_large_items_go_in_small_batches():
    """A request stays small beside the ring, however quick its calls are."""
    pace = Pace()
    for _ in range(5):
        items = pace.size(None, 2)
        pace.sent(items, 1000, items * 100_000)
        pace.observe(items, items * 100)
    assert pace.size(None, 2) == 2


def test_what_is_slow_to_send_goes_in_small_batches():
    """A batch never keeps the parent longer than it is meant to keep a core."""
    pace = Pace()
    for _ in range(5):
        items = pace.size(None, 2)
        pace.observe(items, items * 100)
        pace.sent(items, items * 1_000_000, items)
    assert pace.size(None, 2) == TARGET_NS // 1_000_000


def test_a_fixed_size_is_kept():
    """A chunksize is what it is."""
    pace = Pace(7)
    pace.observe(7, 1)
    assert pace.size(3, 2) == 7
