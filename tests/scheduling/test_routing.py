from __future__ import annotations

import pytest
from tickets import MS, WEIGHTS, Maker, homes, measured, numbers

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model import pacing
from tokengate_mp.scheduling.scheduler import Scheduler

LONG = 100 * MS


def scheduler_with(cores, routing="work_conserving", *, ready=None):
    """A scheduler of four-thread cores, all of them ready, and a maker of its tokens."""
    scheduler = Scheduler(cores, 4, routing)
    for core in range(1, cores + 1) if ready is None else ready:
        scheduler.core_ready(core)
    return scheduler, Maker(scheduler)


def one_by_one(scheduler, maker, weight, count):
    """Which cores so many tokens go to if each is sent while those before still run."""
    cores = []
    for _ in range(count):
        (ticket,) = maker.submit(weight, weight)
        ((core, sent),) = scheduler.assign(0).items()
        assert sent == [ticket]
        cores.append(core)
    return cores


@pytest.mark.parametrize(
    ("weight", "order"),
    [
        ("heavy", [1, 2, 3, 4, 5, 6]),
        ("medium", [2, 3, 4, 5, 6, 1]),
        ("light", [6, 5, 4, 3, 2, 1]),
    ],
)
def test_front_back_fill(weight, order):
    """Heavy fills from core 1 upwards, medium from core 2, light from the last core downwards."""
    scheduler, maker = scheduler_with(6)
    assert one_by_one(scheduler, maker, weight, 6) == order


def test_heavy_and_light_meet_in_between():
    """With both at once, the fronts move towards each other over the cores that are free."""
    scheduler, maker = scheduler_with(6)
    heavy = one_by_one(scheduler, maker, "heavy", 2)
    light = one_by_one(scheduler, maker, "light", 2)
    heavy += one_by_one(scheduler, maker, "heavy", 1)
    light += one_by_one(scheduler, maker, "light", 1)
    assert (heavy, light) == ([1, 2, 3], [6, 5, 4])


def test_filling_begins_at_the_front_of_an_idle_range():
    """One token at a time always goes to the front; while that runs, the next goes further on."""
    scheduler, maker = scheduler_with(6)
    for _ in range(3):
        measured(maker, MS)
        assert [view.answered for view in scheduler.snapshot().cores][2:] == [0, 0, 0, 0]
    assert scheduler.snapshot().cores[1].answered == 3
    assert one_by_one(scheduler, maker, "medium", 2) == [2, 3]


def test_staggering_goes_on_while_the_range_is_busy():
    """As long as one core of a range is busy, the position goes on round instead of back."""
    scheduler, maker = scheduler_with(4)
    assert one_by_one(scheduler, maker, "heavy", 2) == [1, 2]
    scheduler.settle(1, [1], [LONG], 0)
    assert one_by_one(scheduler, maker, "heavy", 3) == [3, 4, 1]


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_strict_fills_exactly_its_range(cores, weight):
    """Under strict routing a burst of one class goes to its range, all of it, and nowhere else."""
    scheduler, maker = scheduler_with(cores, "strict")
    maker.submit(weight, count=100)
    assert set(scheduler.assign(0)) == homes(cores)[weight]


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 8, 64])
@pytest.mark.parametrize("weight", WEIGHTS)
def test_work_conserving_uses_every_core(cores, weight):
    """As many long tokens as cores, of whatever class, run on a core each."""
    scheduler, maker = scheduler_with(cores)
    measured(maker, LONG, weight)
    maker.submit(weight, count=cores)
    assert sorted(map(len, scheduler.assign(0).values())) == [1] * cores


def test_few_tokens_are_spread_evenly():
    """Eight tokens of 0.5 ms on eight cores are one each, though any core has room for twelve."""
    scheduler, maker = scheduler_with(8)
    measured(maker, MS // 2)
    maker.submit(count=8)
    assert [len(sent) for sent in scheduler.assign(0).values()] == [1] * 8


def test_a_few_short_tokens_wake_one_core():
    """What takes less time than waking another core stays together."""
    scheduler, maker = scheduler_with(8)
    measured(maker, 1_000)
    maker.submit(count=16)
    assert [len(sent) for sent in scheduler.assign(0).values()] == [16]


def test_an_idle_core_borrows_before_a_busy_one_is_sent_more():
    """Core 1 holds nothing, so it gets the second light token, though core 3 has room for it."""
    scheduler, maker = scheduler_with(3)
    maker.submit("light", count=3)
    assert {core: numbers(sent) for core, sent in scheduler.assign(0).items()} == {
        3: [1],
        2: [2],
        1: [3],
    }


def test_a_borrowed_core_gives_way():
    """When its own class arrives, a core that borrowed is sent that first."""
    scheduler, maker = scheduler_with(3, ready=[1])
    measured(maker, LONG, "light", "l")
    measured(maker, LONG, "heavy", "h")
    borrowed, *_ = maker.submit("light", "l", 5)
    assert scheduler.assign(0) == {1: [borrowed]}
    own = maker.submit("heavy", "h", 2)
    scheduler.settle(1, [borrowed.number], [LONG], 0)
    assert scheduler.assign(0) == {1: own[:1]}


@pytest.mark.parametrize("duration", [10_000, MS, 2 * MS, 10 * MS, LONG])
@pytest.mark.parametrize(
    ("cores", "weights"), [(1, ("light", "medium", "heavy")), (2, ("light", "medium"))]
)
def test_classes_alternate_on_a_core_they_share(cores, weights, duration):
    """Where classes share a range, each gets its part, however many of their tokens fit at once."""
    scheduler, maker = scheduler_with(cores, "strict")
    for weight in weights:
        measured(maker, duration, weight)
    for weight in weights:
        maker.submit(weight, count=12 * pacing.MAX_HELD // len(weights) + 4000)
    sent = dict.fromkeys(weights, 0)
    for _ in range(12):
        (batch,) = scheduler.assign(0).values()
        for ticket in batch:
            sent[ticket.operation.weight] += 1
        scheduler.settle(cores, numbers(batch), [duration] * len(batch), 0)
    helping = max(1, pacing.DEEP_NS // 8 // (duration + pacing.OVERHEAD_NS))
    assert max(sent.values()) - min(sent.values()) <= helping
    assert min(sent.values()) >= 4


def test_a_class_leaves_its_lane_in_order():
    """First in, first out, over many cores and visits."""
    scheduler, maker = scheduler_with(5)
    measured(maker, MS)
    tickets = maker.submit(count=40)
    sent = scheduler.assign(0)
    gone = sorted(number for batch in sent.values() for number in numbers(batch))
    assert gone == numbers(tickets)[: len(gone)]
    assert all(numbers(batch) == sorted(numbers(batch)) for batch in sent.values())


def test_a_full_core_holds_up_no_other():
    """Long tokens of one class fill their cores; another class's cores are served all the same."""
    scheduler, maker = scheduler_with(3, "strict")
    measured(maker, LONG, "light", "l")
    maker.submit("light", "l", 50)
    assert {core: len(sent) for core, sent in scheduler.assign(0).items()} == {3: 1}
    medium, heavy = maker.submit("medium"), maker.submit("heavy")
    assert scheduler.assign(0) == {2: medium, 1: heavy}


def test_nothing_is_sent_to_a_core_that_is_not_ready():
    """Tokens wait for a core process, and go to the first that is there."""
    scheduler, maker = scheduler_with(4, ready=[])
    tickets = maker.submit("light", count=2)
    assert scheduler.assign(0) == {}
    assert not scheduler.accounts.has_room
    scheduler.core_ready(2)
    assert scheduler.assign(0) == {2: tickets}


def test_killed_tokens_leave_no_gap_in_the_lane():
    """Tokens killed while they wait are passed over, and the lane lets go of them."""
    scheduler, maker = scheduler_with(1, ready=[])
    tickets = maker.submit(count=1000)
    for ticket in tickets[::2] + tickets[1:990:2]:
        assert scheduler.killed(ticket)
    assert scheduler.accounts.waiting_count == 5
    assert len(scheduler._gate.lanes["medium"].queue) <= 10
    scheduler.core_ready(1)
    (sent,) = scheduler.assign(0).values()
    assert numbers(sent) == [992, 994, 996, 998]
    assert all(ticket.stage is TokenState.ADMITTED for ticket in sent)


@pytest.mark.parametrize(
    ("routing", "gone", "failed"),
    [
        ("strict", [1], set()),
        ("strict", [3], {"light"}),
        ("strict", [2, 3], {"light", "medium"}),
        ("strict", [1, 2, 3], set(WEIGHTS)),
        ("work_conserving", [2, 3], set()),
        ("work_conserving", [1, 2, 3], set(WEIGHTS)),
    ],
)
def test_tokens_that_no_core_will_ever_run_fail(routing, gone, failed):
    """Where cores are gone for good, a class that may run on no other does not wait for ever."""
    scheduler, maker = scheduler_with(3, routing, ready=[])
    tickets = [ticket for weight in WEIGHTS for ticket in maker.submit(weight)]
    stranded = scheduler.stranded(sum(1 << core for core in gone))
    assert {ticket.operation.weight for ticket in stranded} == failed
    assert all(ticket.stage is TokenState.FAILED for ticket in stranded)
    assert scheduler.accounts.waiting_count == len(tickets) - len(stranded)
    scheduler.validate()
