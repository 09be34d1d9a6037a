"""Interruptions while locks are taken: no lock is left taken that nobody holds."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time

import pytest

from tokengate_mp import locks
from tokengate_mp.locks import new_lock
from tokengate_mp.worker.run.interrupts import Interrupted, Interrupts
from tokengate_mp.worker.run.with_entry import enters_with

ROUNDS = 60


def taken_after_interrupts(lock, body):
    """How often a lock was left taken by a thread that was interrupted while it used the lock."""
    interrupts = Interrupts(1)
    left = 0
    for number in range(1, ROUNDS + 1):
        began = threading.Event()

        def use(number=number, began=began):
            interrupts.enlist_thread(0)
            interrupts.running[0] = number
            try:
                began.set()
                body()
            except Interrupted:
                pass
            finally:
                interrupts.leave_reach(0, number)

        thread = threading.Thread(target=use)
        thread.start()
        began.wait()
        interrupts.end_token(number)
        while thread.is_alive():
            time.sleep(0.001)
            interrupts.interrupt_postponed()
        thread.join()
        if not lock.acquire(timeout=0.05):
            left += 1
            break
        lock.release()
    return left


def test_a_plain_lock_is_free_after_an_interruption():
    """A token that is ended while it takes a lock of the user's does not leave it taken."""
    lock = threading.Lock()

    def body():
        while True:
            with lock:
                pass

    assert taken_after_interrupts(lock, body) == 0


def test_a_thread_that_blocks_at_a_lock_is_told_from_others():
    """It is found at the beginning of its `with` block, where that matters."""
    lock, waits = threading.Lock(), threading.Event()

    def block():
        waits.set()
        with lock:
            pass

    with lock:
        thread = threading.Thread(target=block)
        thread.start()
        waits.wait()
        deadline = time.monotonic() + 10
        while locks.LEAKY_WITH and not enters_with(thread.ident):
            assert time.monotonic() < deadline
            time.sleep(0.001)
    thread.join()
    assert not enters_with(threading.get_ident())


def alarm(_number, _frame):
    """Raise as Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.fixture
def alarms():
    """A timer that raises in the main thread."""
    before = signal.signal(signal.SIGALRM, alarm)
    gc.disable()  # an interrupt in the middle of it would be swallowed
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 2e-4)
    gc.enable()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def use(lock):
    """Take a lock, and give it back."""
    with lock:
        pass


def test_our_locks_are_free_after_ctrl_c(alarms):
    """A lock of ours is not held after a Ctrl-C came when it was taken, however often."""
    lock = new_lock()
    for _ in range(200):
        try:
            alarms()
            while True:
                with lock:
                    pass
        except KeyboardInterrupt:
            pass
        thread = threading.Thread(target=use, args=(lock,))
        thread.start()
        thread.join(5)
        assert not thread.is_alive()


def test_our_locks_are_reentrant_and_exclude_others():
    """They are what they were: reentrant, and for one thread at a time."""
    lock = new_lock()
    with lock, lock:
        taken = []
        thread = threading.Thread(target=lambda: taken.append(lock.acquire(blocking=False)))
        thread.start()
        thread.join()
        assert taken == [False]
    assert sys.version_info[:2] != (3, 14) or type(lock).__name__ == "_WholeLock"
