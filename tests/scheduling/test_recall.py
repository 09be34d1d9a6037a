from __future__ import annotations

import pytest
from tickets import MS, Maker, measured, numbers

from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.scheduler import Scheduler


@pytest.fixture
def stalled():
    """Core 1 holds two tokens, core 2 nothing: as when the first one takes longer than expected."""
    scheduler = Scheduler(2, 4, "work_conserving")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    tickets = maker.submit("heavy", count=2)
    assert scheduler.assign(0) == {1: tickets}
    scheduler.core_ready(2)
    return scheduler, maker, tickets


def test_a_slow_core_is_asked_once(stalled):
    """After 8 ms without an outcome, and not before, it is asked; and then not again."""
    scheduler, _, _ = stalled
    assert scheduler.could_recall()
    assert scheduler.overdue(RECALL_NS - 1) == []
    assert scheduler.overdue(RECALL_NS) == [1]
    assert not scheduler.could_recall()
    assert scheduler.overdue(1000 * RECALL_NS) == []


@pytest.mark.parametrize("divisible", [True, False])
def test_a_lone_token_is_recalled_in_part_if_it_is_many(divisible):
    """A batch that one core works through while another has nothing to do; and once."""
    scheduler = Scheduler(2, 4, "work_conserving")
    scheduler.core_ready(1)
    (batch,) = Maker(scheduler).submit("heavy")
    batch.operation.divisible = divisible
    scheduler.assign(0)
    scheduler.core_ready(2)
    assert scheduler.could_recall() == divisible
    assert scheduler.overdue(RECALL_NS - 1) == []
    assert scheduler.overdue(RECALL_NS) == ([1] if divisible else [])
    assert not scheduler.could_recall()


def test_what_is_given_back_goes_to_the_idle_core(stalled):
    """The token that waited behind the long one is sent to the core that has nothing to do."""
    scheduler, _, (_, behind) = stalled
    scheduler.overdue(RECALL_NS)
    scheduler.given_back(1, [behind.number])
    assert scheduler.assign(RECALL_NS) == {2: [behind]}


def test_a_stuck_core_is_sent_nothing_until_it_answers(stalled):
    """A core that gave tokens back gets none until it has finished one."""
    scheduler, maker, (long, behind) = stalled
    scheduler.given_back(1, [behind.number])
    more = maker.submit("heavy", count=20)
    assert set(scheduler.assign(RECALL_NS)) == {2}
    scheduler.settle(1, [long.number], [MS], RECALL_NS)
    assert set(scheduler.assign(RECALL_NS)) == {1}
    assert more[-1].core is None


def test_a_hungry_core_is_not_stuck(stalled):
    """One whose running tokens are all blocked has threads for what it is sent."""
    scheduler, maker, (_, behind) = stalled
    scheduler.given_back(1, [behind.number])
    scheduler.hungry(1)
    maker.submit("heavy", count=20)
    assert set(scheduler.assign(RECALL_NS)) == {1, 2}


def test_a_token_sent_behind_a_long_one_is_recalled_in_its_turn(stalled):
    """Once asked in vain, a core is asked again after it was sent something."""
    scheduler, maker, _ = stalled
    scheduler.overdue(RECALL_NS)  # in vain: it runs both
    tickets = maker.submit("heavy", count=6)
    sent = scheduler.assign(RECALL_NS)
    assert set(sent) == {1, 2}
    scheduler.settle(2, numbers(sent[2]), [MS] * len(sent[2]), 2 * RECALL_NS)
    assert scheduler.accounts.waiting_count == 0
    assert scheduler.overdue(2 * RECALL_NS) == [1]
    assert tickets[-1].core is not None


def test_outcomes_do_not_hide_a_token_that_lies_behind():
    """A core that goes on answering, but far more slowly than expected, is asked all the same."""
    scheduler = Scheduler(2, 4, "work_conserving")
    scheduler.core_ready(1)
    Maker(scheduler).submit("heavy", count=4)
    scheduler.assign(0)
    scheduler.core_ready(2)
    scheduler.settle(1, [1], [RECALL_NS - 1], RECALL_NS - 1)
    assert scheduler.overdue(RECALL_NS - 1) == []
    assert scheduler.overdue(RECALL_NS) == [1]


def test_a_token_sent_late_behind_a_long_one_does_not_wait_anew():
    """The core has been slow for 8 ms, whenever the token behind was sent."""
    scheduler = Scheduler(2, 4, "work_conserving")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    maker.submit("heavy")
    scheduler.assign(0)
    maker.submit("heavy")
    scheduler.assign(RECALL_NS - 1)
    scheduler.core_ready(2)
    assert scheduler.overdue(RECALL_NS - 1) == []
    assert scheduler.overdue(RECALL_NS) == [1]


def test_a_core_that_has_answered_may_be_asked_again():
    """An outcome is progress: what still lies behind may be asked for once more."""
    scheduler = Scheduler(2, 4, "work_conserving")
    scheduler.core_ready(1)
    Maker(scheduler).submit("heavy", count=4)
    scheduler.assign(0)
    scheduler.core_ready(2)
    assert scheduler.overdue(RECALL_NS) == [1]
    scheduler.settle(1, [1], [RECALL_NS], RECALL_NS)
    assert scheduler.could_recall()
    assert scheduler.overdue(RECALL_NS) == [1]


def test_no_outcome_is_no_progress(stalled):
    """Settling nothing, as when only tokens came back, leaves the core as slow as it was."""
    scheduler, maker, (_, behind) = stalled
    scheduler.given_back(1, [behind.number])
    assert scheduler.settle(1, [], [], RECALL_NS) == []
    maker.submit("heavy", count=20)
    assert set(scheduler.assign(RECALL_NS)) == {2}


def test_strict_forgets_what_a_core_held_before():
    """What a core was sent before it last held nothing is no reason to ask it."""
    scheduler = Scheduler(3, 4, "strict")
    scheduler.core_ready(3)
    maker = Maker(scheduler)
    measured(maker, MS, "heavy")
    maker.submit("light", count=3)
    assert set(scheduler.assign(0)) == {3}
    scheduler.core_ready(1)
    assert not scheduler.could_recall()


def test_one_token_is_never_recalled():
    """What a core holds alone it is running."""
    scheduler = Scheduler(2, 4, "work_conserving")
    scheduler.core_ready(1)
    Maker(scheduler).submit("heavy")
    scheduler.assign(0)
    scheduler.core_ready(2)
    assert not scheduler.could_recall()


def test_nothing_is_recalled_for_a_core_that_has_work_coming(stalled):
    """While tokens wait that the idle core may have, it takes those."""
    scheduler, maker, _ = stalled
    maker.submit("light")
    assert not scheduler.could_recall()
    assert scheduler.overdue(RECALL_NS) == []


@pytest.mark.parametrize(
    ("weight", "idle", "due"),
    [("light", 1, []), ("light", 4, [3]), ("medium", 1, []), ("medium", 2, [3]), ("heavy", 1, [3])],
)
def test_strict_recalls_for_cores_of_the_range_only(weight, idle, due):
    """Under strict routing a token cannot help a core outside its class's range."""
    scheduler = Scheduler(4, 4, "strict")
    scheduler.core_ready(3)
    maker = Maker(scheduler)
    measured(maker, MS, weight)
    maker.submit(weight, count=3)
    assert set(scheduler.assign(0)) == {3}
    scheduler.core_ready(idle)
    assert scheduler.overdue(RECALL_NS) == due


def test_strict_recalls_although_another_class_waits():
    """Waiting tokens that the idle core may not have are no reason to leave it idle."""
    scheduler = Scheduler(3, 4, "strict")
    scheduler.core_ready(3)
    maker = Maker(scheduler)
    heavy = maker.submit("heavy", count=2)
    scheduler.assign(0)
    maker.submit("light", count=20)
    scheduler.assign(0)
    assert scheduler.accounts.waiting_count
    scheduler.core_ready(1)
    assert scheduler.overdue(RECALL_NS) == [3]
    scheduler.given_back(3, [heavy[1].number])
    assert scheduler.assign(RECALL_NS) == {1: [heavy[1]]}


def test_a_token_that_only_the_slow_core_may_run_does_not_travel():
    """Given back and with nowhere else to go, it waits for its core instead of being sent again."""
    scheduler = Scheduler(3, 4, "strict")
    scheduler.core_ready(3)
    maker = Maker(scheduler)
    heavy, light = maker.submit("heavy") + maker.submit("light")
    scheduler.assign(0)
    scheduler.core_ready(1)
    asked = 0
    for turn in range(1, 50):
        for core in scheduler.overdue(turn * RECALL_NS):
            asked += 1
            scheduler.given_back(core, [light.number])
        scheduler.assign(turn * RECALL_NS)
    assert asked == 1
    assert light.core == 3
    assert scheduler.accounts.waiting_count == 1
    scheduler.settle(3, [heavy.number], [MS], 0)
    assert scheduler.assign(0) == {3: [light]}


def test_threads_that_all_run_are_not_asked_for_ever():
    """Four blocked tokens, nothing to give back, an idle core beside: one question, no more."""
    scheduler = Scheduler(2, 4, "work_conserving")
    scheduler.core_ready(1)
    maker = Maker(scheduler)
    measured(maker, 1000 * MS, "heavy", blocked=True)
    maker.submit("heavy", count=4)
    assert len(scheduler.assign(0)[1]) == 4
    scheduler.core_ready(2)
    assert [scheduler.overdue(turn * RECALL_NS) for turn in range(1, 5)] == [[1], [], [], []]
    assert not scheduler.could_recall()
