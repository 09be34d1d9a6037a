"""The run slot: which thread of a crew runs tokens."""

from __future__ import annotations

import threading

from tokengate_mp.worker.crew.run_slot import RunSlot


def test_only_its_holder_gives_it_up() -> None:
    """Of the watchdog and the holder, whoever comes second takes it from nobody."""
    run_slot = RunSlot()
    run_slot.await_turn(1)
    assert not run_slot.vacate(0)
    assert run_slot.holder == 1
    assert run_slot.vacate(1)
    assert not run_slot.vacate(1)
    assert run_slot.holder is None


def test_a_thread_that_comes_back_takes_it_only_if_it_is_free() -> None:
    """And goes on without it otherwise: a thread that waited must not wait again."""
    run_slot = RunSlot()
    run_slot.take_if_free(0)
    assert run_slot.holder == 0
    run_slot.take_if_free(1)
    assert run_slot.holder == 0


def test_threads_have_it_in_turn() -> None:
    """A thread waits until the holder has lost it."""
    run_slot = RunSlot()
    run_slot.await_turn(0)
    waiting = threading.Thread(target=run_slot.await_turn, args=(1,))
    waiting.start()
    assert run_slot.holder == 0
    run_slot.vacate(0)
    waiting.join(20)
    assert run_slot.holder == 1
