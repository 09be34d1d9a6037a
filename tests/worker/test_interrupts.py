"""Who is interrupted, step by step, as the threads of a core process and its control thread do."""

from __future__ import annotations

import pytest

from tokengate_mp.worker.run.interrupts import Interrupted, Interrupts

TOKEN = 7


@pytest.fixture
def interrupts() -> Interrupts:
    """Those of a crew of one thread, which is this one, in the middle of a token."""
    made = Interrupts(1)
    made.enlist_thread(0)
    made.running[0] = TOKEN
    return made


def forget_all(interrupts: Interrupts) -> None:
    """The crew has had nothing to do, and then again: what came before the first time is gone."""
    interrupts.forget_unwanted()
    interrupts.forget_unwanted()


def test_a_token_that_has_stepped_out_is_not_forgotten(interrupts: Interrupts) -> None:
    """It was ended while it was out of reach, and finds out whenever it steps in."""
    number = interrupts.step_out(0)
    interrupts.end_token(TOKEN)
    forget_all(interrupts)
    with pytest.raises(Interrupted):
        interrupts.step_in(0, number)
    assert not interrupts.unwanted


def test_one_that_steps_in_just_now_is_not_forgotten(interrupts: Interrupts) -> None:
    """Nor while it looks whether it was ended: nothing was to be run in the meantime."""
    number = interrupts.step_out(0)
    interrupts.end_token(TOKEN)

    class Looked(set[int]):
        def __bool__(self) -> bool:
            forget_all(interrupts)
            return len(self) > 0

    interrupts.unwanted = Looked(interrupts.unwanted)
    with pytest.raises(Interrupted):
        interrupts.step_in(0, number)


def test_a_token_that_has_ended_is_forgotten(interrupts: Interrupts) -> None:
    """Having stepped out and in keeps no number of what ends later."""
    interrupts.step_in(0, interrupts.step_out(0))
    interrupts.leave_reach(0, TOKEN)
    interrupts.end_token(TOKEN)
    assert interrupts.unwanted
    forget_all(interrupts)
    assert not interrupts.unwanted


def test_a_token_that_was_hit_when_it_stepped_out_is_forgotten(interrupts: Interrupts) -> None:
    """It never steps in; that it has ended is enough."""

    class Hit(list[int]):
        def __setitem__(self, slot: object, number: object) -> None:
            raise Interrupted

    interrupts.running = Hit(interrupts.running)
    with pytest.raises(Interrupted):
        interrupts.step_out(0)
    interrupts.running = [0]
    interrupts.leave_reach(0, TOKEN)
    interrupts.end_token(TOKEN)
    forget_all(interrupts)
    assert not interrupts.unwanted


def test_a_token_that_is_missed_leaves_nothing_to_the_next_one(interrupts: Interrupts) -> None:
    """It ends just when it is found running: the next token of that thread is not taken for it."""

    class Left(list[int]):
        def index(self, number: object, *_range: object) -> int:
            slot = super().index(number)  # type: ignore[arg-type]
            self[slot] = TOKEN + 1
            return slot

    interrupts.running = Left(interrupts.running)
    interrupts.end_token(TOKEN)
    interrupts.step_in(0, interrupts.step_out(0))
    assert interrupts.unwanted == {TOKEN}
    assert interrupts.asked == [0]
