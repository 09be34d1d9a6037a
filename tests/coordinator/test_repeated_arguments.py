"""A large object of many waiting calls lies in shared memory once, and arrives as at each call."""

from __future__ import annotations

import gc
import random
import threading
import warnings

import numpy as np
import pytest

from tokengate_mp import OperationsCoordinator, TokenGateExecutor, task_token_guard

MIB = 1 << 20


def total(data, extra=0):
    """The sum of an array."""
    return float(np.asarray(data).sum()) + extra


def length(data, extra=0):
    """How long something is, and something more."""
    return len(data) + extra


@pytest.fixture
def coordinator():
    """A coordinator with two cores."""
    with OperationsCoordinator(cores=2, max_shared_bytes=256 * MIB) as running:
        yield running
        running.resume_admission()  # after a failure too: it is joined


def in_use(running) -> int:
    """How many bytes of arguments are in shared memory."""
    return running._run.engine.arena.bytes_in_use()[0]


OBJECTS = {
    "array": np.arange(MIB, dtype=np.uint8),
    "frozen array": np.frombuffer(bytes(range(256)) * 4096, np.uint8),
    "columns first": np.asfortranarray(np.arange(MIB // 8, dtype=float).reshape(512, -1)),
    "bytes": random.Random(1).randbytes(MIB),
    "bytearray": bytearray(random.Random(2).randbytes(MIB)),
    "memoryview": memoryview(random.Random(3).randbytes(MIB)),
    "text": "é" + "x" * MIB,
    "list": [str(n) for n in range(40_000)],
    "dictionary": {n: f"value {n}" for n in range(20_000)},
    "nested": {"a": [np.arange(MIB, dtype=np.uint8)], "b": list(range(20_000))},
}


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("place", ["first", "last", "keyword"])
def test_one_object_in_many_waiting_calls_is_stored_once(coordinator, kind, place):
    """Of 12 waiting calls with another number beside it; all is free when the last has ended."""
    value = OBJECTS[kind]
    coordinator.pause_admission()
    if place == "keyword":
        tokens = [coordinator.submit(length, extra=n, data=value) for n in range(12)]
    elif place == "first":
        tokens = [coordinator.submit(length, value, n) for n in range(12)]
    else:
        tokens = [coordinator.submit(_length_after, n, value) for n in range(12)]
    assert 0 < in_use(coordinator) < 3 * MIB
    coordinator.resume_admission()
    assert [token.get(30) for token in tokens] == [len(value) + n for n in range(12)]
    del tokens
    gc.collect()
    coordinator.submit(abs, 1).get(30)
    assert in_use(coordinator) == 0


def _length_after(extra, data):
    return len(data) + extra


@pytest.mark.filterwarnings("ignore:.*one large object")
@pytest.mark.parametrize("seed", range(5))
def test_each_call_gets_the_object_as_it_was_at_the_call(coordinator, seed):
    """Whatever is changed, wherever in it, in between: arrays, bytearrays and lists."""
    draw = random.Random(seed)
    array = np.zeros(MIB // 8)
    buffer = bytearray(MIB)
    rows = [0] * 40_000
    coordinator.pause_admission()
    tokens, expected = [], []
    for _ in range(16):
        change = draw.randrange(4)
        if change == 0:
            array[draw.randrange(len(array))] += draw.randrange(1, 9)
        elif change == 1:
            buffer[draw.randrange(len(buffer))] = draw.randrange(256)
        elif change == 2:
            rows[draw.randrange(len(rows))] += draw.randrange(1, 9)
        data = draw.choice([array, array, buffer, rows])
        if data is buffer:
            tokens.append(coordinator.submit(sum, data))
            expected.append(sum(buffer))
        else:
            tokens.append(coordinator.submit(total, data))
            expected.append(float(np.asarray(data).sum()))
    coordinator.resume_admission()
    assert [token.get(60) for token in tokens] == expected


def test_calls_of_several_threads_share_what_they_have_in_common(coordinator):
    """However they interleave, and while blocks come and go."""
    arrays = [np.full(MIB // 8, n) for n in range(3)]
    results = []

    def call(seed):
        draw = random.Random(seed)
        for _ in range(60):
            n = draw.randrange(3)
            token = coordinator.submit(total, arrays[n], seed)
            if draw.random() < 0.5:
                results.append((token.get(60), n * MIB // 8 + seed))

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results
    assert all(got == expected for got, expected in results)


def test_what_is_stored_once_counts_once_against_max_pending_bytes():
    """As many calls fit as there is memory for."""
    array = np.ones(MIB)
    with OperationsCoordinator(cores=1, max_pending_bytes=20 * MIB) as running:
        running.pause_admission()
        tokens = [running.submit(total, array, n) for n in range(100)]
        running.resume_admission()
        assert [token.get(30) for token in tokens] == [MIB + n for n in range(100)]
        assert running._run.engine.admission.large == 0


def test_an_executor_stores_one_object_once():
    """As a coordinator does."""
    array = np.ones(MIB // 8)
    with TokenGateExecutor(1) as executor:
        gate = threading.Event()
        first = executor.submit(total, array)
        first.add_done_callback(lambda _: gate.wait(30))  # its loop stands still meanwhile
        futures = [executor.submit(total, array, n) for n in range(100)]
        assert executor._runtime._engine.arena.bytes_in_use()[0] <= 2 * MIB
        gate.set()
        assert [future.result(30) for future in futures] == [MIB // 8 + n for n in range(100)]


def test_changed_objects_that_are_stored_each_time_are_warned_of_once(coordinator):
    """The warning names `share`, stands at the user's line, and comes once an operation."""
    array = np.zeros(MIB)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coordinator.pause_admission()
        tokens = []
        for n in range(12):
            array[n] = 1
            tokens.append(coordinator.submit(total, array))
        coordinator.resume_admission()
    assert [token.get(30) for token in tokens] == list(range(1, 13))
    assert len(caught) == 1
    assert "share" in str(caught[0].message)
    assert "total" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_new_objects_are_no_repetition(coordinator):
    """Nor is one object in calls that come one after the other has ended."""
    array = np.zeros(MIB)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(12):
            assert coordinator.submit(total, np.full(MIB // 4, n)).get(30) == n * MIB // 4
            array[n] = 1
            assert coordinator.submit(total, array).get(30) == n + 1


def test_what_a_function_changes_in_its_copy_reaches_no_other_call(coordinator):
    """A function that gets copies, of a block that others get too."""
    array = np.zeros(MIB // 8)
    spoil = task_token_guard(writable=True)(_spoil)
    tokens = [spoil(array, n) for n in range(20)]
    tokens += [coordinator.submit(total, array) for _ in range(20)]
    assert [token.get(30) for token in tokens] == [float(n) for n in range(20)] + [0.0] * 20


def _spoil(array, n):
    array[0] += n
    return float(array.sum())
