from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickets import MS, Maker, measured, numbers

from tokengate_mp.scheduling.model import pacing
from tokengate_mp.scheduling.model.operation import RECENT, Operation
from tokengate_mp.scheduling.model.operation_view import operation_views
from tokengate_mp.scheduling.scheduler import Scheduler


def sent_to_one_core(duration, count=10_000, **measuring):
    """How many tokens of a measured operation one core of four threads is sent."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, duration, **measuring)
    maker.submit(count=count)
    return len(scheduler.assign(1)[1])


@pytest.mark.parametrize(
    ("duration", "count"),
    [
        (0, 3000),  # 12 ms of 4 µs, which is what the core process itself takes for each
        (20_000, 500),
        (MS - 4_000, 12),
        (8 * MS, 2),  # one to run and one to go on with
        (20 * MS, 2),
        (pacing.PREFETCH_NS, 1),  # with the core's own part it is beyond what is worth fetching
        (3_600_000 * MS, 1),
    ],
)
def test_window(duration, count):
    """A core is sent 12 ms of work by measured durations, and at least one token to go on with."""
    assert sent_to_one_core(duration, count + 1) == count


@pytest.mark.parametrize(
    ("duration", "count"),
    [(76_000, 1800), (MS - 4_000, 144), (8 * MS, 17), (40 * MS, 3), (3_600_000 * MS, 1)],
)
def test_a_deep_window(duration, count):
    """A core is sent up to 144 ms of work while far more waits."""
    assert sent_to_one_core(duration, 100_000) == count


@pytest.mark.parametrize(
    ("lasted", "window"),
    [
        (10 * MS, pacing.DEEP_NS),
        (300 * MS, 300 * MS),
        (3_600_000 * MS, pacing.DEEPEST_NS),
    ],
)
def test_a_window_at_the_end_of_a_long_burst(lasted, window):
    """It lasts as long again as the burst has: until somebody sends more. Not once that is over."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, MS)
    maker.submit(count=100_000)
    scheduler.parent_busy(0, lasted)
    held = scheduler.assign(1)[1]
    load = scheduler._ledger[1].load
    assert window - 2 * MS <= load <= window
    scheduler.parent_busy(0, 0)
    done = held[: len(held) // 2]
    scheduler.settle(1, numbers(done), [MS] * len(done), 2)
    scheduler.assign(2)
    assert scheduler._ledger[1].load <= max(pacing.DEEP_NS, load // 2 + 2 * MS)


@pytest.mark.parametrize(
    ("later", "deep"),
    [(0, False), (pacing.QUIET_NS - 1, False), (pacing.QUIET_NS, True), (10**15, True)],
)
@pytest.mark.parametrize("waits", [False, True])
def test_no_deep_window_while_another_class_is_in_use(later, deep, waits):
    """Its next token is not to wait behind that much; unless some of its own wait anyway."""
    scheduler = Scheduler(1, 4, "work_conserving")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, MS)
    measured(maker, MS, "heavy")
    maker.submit(count=10_000)
    if waits:
        maker.submit("heavy", count=10_000)
    scheduler.assign(later)
    scheduler.validate()
    window = pacing.DEEP_NS if deep or waits else pacing.WINDOW_NS
    assert window - 2 * MS <= scheduler._ledger[1].load <= window


@pytest.mark.parametrize(("duration", "count"), [(2 * MS, 23), (50 * MS, 4), (1000 * MS, 4)])
def test_window_of_blocking_tokens(duration, count):
    """Tokens that mostly wait share a core among its threads, and may always fill those."""
    assert sent_to_one_core(duration, count + 1, blocked=True) == count


def test_a_hungry_core_may_fill_its_crew():
    """A core with threads free beside blocked tokens holds one for each, until it next answers."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, 100 * MS)
    tickets = maker.submit(count=10)
    assert scheduler.assign(0) == {1: tickets[:1]}
    scheduler.hungry(1)
    assert scheduler.assign(0) == {1: tickets[1:4]}
    scheduler.settle(1, [tickets[0].number], [100 * MS], 0)
    assert scheduler.assign(0) == {}


@pytest.mark.parametrize("blocked", [1, 2, 3])
def test_tokens_that_block_leave_the_window_to_others(blocked):
    """However long they are: a core of which a thread is free takes short ones beside them."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, 1000 * MS, name="sleep", blocked=True)
    measured(maker, MS - pacing.OVERHEAD_NS, name="short")
    sleepers = maker.submit(name="sleep", count=blocked)
    assert scheduler.assign(0) == {1: sleepers}
    scheduler.hungry(1, numbers(sleepers))
    short = maker.submit(name="short", count=30)
    assert scheduler.assign(0) == {1: short[:12]}
    scheduler.settle(1, numbers(short[:12]), [MS - pacing.OVERHEAD_NS] * 12, 0)
    assert scheduler.assign(0) == {1: short[12:24]}, "and once it has answered"
    scheduler.settle(1, numbers(sleepers), [1000 * MS] * blocked, 0, blocked=numbers(sleepers))
    scheduler.validate()


@pytest.mark.parametrize("known", [False, True])
def test_tokens_that_may_block_are_not_sent_beyond_the_crew(known):
    """Beside blocked ones they get the threads that are free; another core may have more."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    if known:
        measured(maker, 1000 * MS, blocked=True)
    maker.submit(count=20)
    held = []
    for _ in range(20):
        for sent in scheduler.assign(0).values():
            held += sent
        scheduler.hungry(1, numbers(held))
        scheduler.validate()
    assert len(held) == 4


@pytest.mark.parametrize(("duration", "count"), [(100 * MS, 1), (8 * MS, 2)])
def test_exclusive_tokens_that_wait_are_charged_as_if_they_computed(duration, count):
    """They share their core with nobody: it holds no more of them, whatever threads are free."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, duration, name="alone", blocked=True)
    tickets = maker.submit(name="alone", count=10)
    assert scheduler.assign(0) == {1: tickets[:count]}
    scheduler.hungry(1, numbers(tickets[:1]))
    assert scheduler.assign(0) == {}


def test_exclusive_tokens_are_not_sent_beside_those_that_block():
    """Threads that are free are none for an exclusive token, which would wait for the others."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, 1000 * MS, name="sleep", blocked=True)
    measured(maker, 20 * MS, name="alone")
    sleepers = maker.submit(name="sleep", count=3)
    assert scheduler.assign(0) == {1: sleepers}
    scheduler.hungry(1, numbers(sleepers))
    maker.submit(name="alone", count=3)
    assert scheduler.assign(0) == {}
    scheduler.validate()


def test_a_long_token_goes_to_a_core_that_is_nearly_dry():
    """Where 4 ms of work or less are left, the next token may take as long as it likes."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, MS - pacing.OVERHEAD_NS, name="short")
    measured(maker, 100 * MS, name="long")
    short = maker.submit(name="short", count=5)
    (long,) = maker.submit(name="long")
    assert scheduler.assign(0) == {1: short}
    scheduler.settle(1, [short[0].number], [MS - pacing.OVERHEAD_NS], 0)
    assert scheduler.assign(0) == {1: [long]}


def test_a_core_never_holds_more_than_the_limit(monkeypatch):
    """However short tokens are, a core holds a bounded number of them."""
    monkeypatch.setattr(pacing, "OVERHEAD_NS", 0)
    assert sent_to_one_core(0) == pacing.MAX_HELD == 4096


def test_an_operation_not_yet_measured():
    """Four tokens of an operation nothing is known of fill a core's window."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    Maker(scheduler).submit(count=10)
    assert len(scheduler.assign(0)[1]) == 4


def test_a_full_core_is_sent_more_when_it_has_done_a_third():
    """It is topped up when a third of its window is done, not token by token."""
    scheduler = Scheduler(1, 1, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, MS - pacing.OVERHEAD_NS)
    tickets = maker.submit(count=20)
    assert scheduler.assign(0) == {1: tickets[:12]}
    for ticket in tickets[:3]:
        scheduler.settle(1, [ticket.number], [MS - pacing.OVERHEAD_NS], 0)
        assert scheduler.assign(0) == {}
    scheduler.settle(1, [tickets[3].number], [MS - pacing.OVERHEAD_NS], 0)
    assert scheduler.assign(0) == {1: tickets[12:16]}


def test_what_a_token_was_charged_is_what_is_given_back():
    """A change of the measured duration does not touch the charge of tokens that are held."""
    scheduler = Scheduler(1, 4, "strict")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    tickets = maker.submit(count=4)
    scheduler.assign(0)
    scheduler.settle(1, [tickets[0].number], [100 * MS], 0)
    scheduler.validate()
    assert scheduler._ledger[1].load == 3 * pacing.UNKNOWN_NS


@pytest.mark.parametrize(
    ("waiting", "cores", "helping"),
    [
        (0, 1, pacing.LEAST_NS),
        (MS, 64, pacing.LEAST_NS),
        (MS, 4, MS // 4),
        (1000 * MS, 64, pacing.WINDOW_NS // 8),
    ],
)
def test_helping(waiting, cores, helping):
    """Little work is spread evenly, as long as a core is worth waking for its part."""
    assert pacing.helping(waiting, cores, pacing.WINDOW_NS) == helping


@pytest.mark.parametrize("cores", [1, 2, 64])
@pytest.mark.parametrize("away", [0, 300 * MS])
def test_windows_shrink_as_work_runs_out(cores, away):
    """What all cores hold is never more than a fourth of what waits, or a short window each."""
    last = max(pacing.DEEP_NS, away)
    for waiting in range(2000 * MS * cores, -1, -MS * cores):
        window = pacing.window(waiting, cores, away)
        assert pacing.WINDOW_NS <= window <= last
        assert window == pacing.WINDOW_NS or window * cores * 4 <= waiting
        last = window
    assert last == pacing.WINDOW_NS


def test_the_average_follows_the_latest_runs():
    """A batch counts for a sixteenth a run, the first and one of 16 for all there is."""
    assert pacing.smoothed(0.0, [40, 60], first=True) == 50
    assert pacing.smoothed(100.0, [36], first=False) == 96
    assert pacing.smoothed(100.0, [20] * 4, first=False) == 80
    assert pacing.smoothed(100.0, [20] * 16, first=False) == 20
    assert pacing.smoothed(100.0, [20] * 99, first=False) == 20


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40), st.floats(0, 1e12))
def test_the_average_stays_between_old_and_new(durations, mean):
    """It moves towards the batch and not past it."""
    batch = sum(durations) / len(durations)
    low, high = sorted((mean, batch))
    slack = 1e-9 * high
    assert low - slack <= pacing.smoothed(mean, durations, first=False) <= high + slack


def test_percentiles():
    """p50 and p95 are of the latest runs, max of all, and calls of two weights count together."""
    light, heavy = Operation("work", "light", 4), Operation("work", "heavy", 4)
    light.observe([5000], blocking=False)
    light.observe(list(range(RECENT - 100)), blocking=False)
    heavy.observe(list(range(RECENT - 100, RECENT)), blocking=False)
    heavy.completed, light.failed, light.killed = 3, 2, 1
    assert operation_views([light, heavy]).keys() == {"work"}
    view = operation_views([light, heavy])["work"]
    assert (view.completed, view.failed, view.killed) == (3, 2, 1)
    assert (view.p50, view.p95, view.max) == (512, 973, 5000)
    assert view.weight == "light"


def test_an_operation_without_runs_has_no_durations():
    """Before the first outcome there is no percentile, rather than a zero."""
    view = operation_views([Operation("work", "light", 4)])["work"]
    assert (view.p50, view.p95, view.max) == (None, None, None)
