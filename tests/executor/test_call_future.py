"""A call's future by itself: it is made of less, and does what every standard future does."""

from __future__ import annotations

import concurrent.futures
import threading

import pytest

from tokengate_mp.executor.future import CallFuture


def test_it_has_what_a_standard_future_has():
    """No attribute that the methods it inherits go by is missing, whichever Python this is."""
    assert vars(CallFuture()).keys() == vars(concurrent.futures.Future()).keys()


def test_threads_that_wait_are_woken():
    """Each thread that waits gets the result, and one that comes later too."""
    future = CallFuture()
    results = []
    threads = [threading.Thread(target=lambda: results.append(future.result(20))) for _ in range(5)]
    for thread in threads:
        thread.start()
    future.set_result(3)
    for thread in threads:
        thread.join()
    assert results == [3] * 5
    assert future.result() == 3


def test_a_wait_that_is_over_leaves_the_future_as_it_was():
    """A timeout is one, and the result arrives all the same."""
    future = CallFuture()
    with pytest.raises(TimeoutError):
        future.result(0.01)
    future.set_exception(KeyError("x"))
    assert isinstance(future.exception(20), KeyError)
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_result(1)


def test_the_lock_is_one_that_its_holder_may_take_again():
    """A repr within it, as of a signal handler, does not stop for ever."""
    future = CallFuture()
    with future._condition:
        assert "pending" in repr(future)


def test_waiting_for_some_of_many():
    """wait() and as_completed() take their locks together, and let them go."""
    futures = [CallFuture() for _ in range(10)]
    futures[3].set_result(3)
    done, left = concurrent.futures.wait(futures, 20, concurrent.futures.FIRST_COMPLETED)
    assert (done, len(left)) == ({futures[3]}, 9)
    for future in left:
        future.set_result(0)
    assert set(concurrent.futures.as_completed(futures, 20)) == set(futures)
