"""The executor by itself; what it shares with every executor is in test_standard_contract."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import signal
import threading
from functools import partial

import arrays
import gates
import numpy as np
import pytest
import work

from tokengate_mp import (
    CoordinatorRunning,
    InitializerFailed,
    OperationsCoordinator,
    PayloadError,
    TokenGateExecutor,
    WorkerLost,
)

PATIENCE = 20


@pytest.fixture
def executor():
    """An executor with two core processes."""
    with TokenGateExecutor(2) as executor:
        yield executor


@pytest.fixture
def gate():
    """A gate that tokens wait at."""
    with gates.Gate() as gate:
        yield gate


def test_calls_of_every_kind(executor):
    """Functions, built-ins, classes, methods, partials, lambdas and decorated functions are run."""
    calls = {
        executor.submit(pow, 2, 8): 256,
        executor.submit(pow, 2, exp=8): 256,
        executor.submit(pow, 2**80, 2): 2**160,
        executor.submit("a-b".split, "-"): ["a", "b"],
        executor.submit(partial(pow, 2), 5): 32,
        executor.submit(lambda x: -x, 3): -3,
        executor.submit(complex, 1, 2): 1 + 2j,
        executor.submit(work.square, 7): 49,
    }
    for future, expected in calls.items():
        assert future.result(PATIENCE) == expected


def test_an_argument_that_cannot_be_sent_fails_its_future(executor):
    """The future raises it, as with a standard executor, and names the argument."""
    future = executor.submit(work.echo, threading.Lock())
    with pytest.raises(PayloadError, match="argument 1") as caught:
        future.result(PATIENCE)
    assert isinstance(caught.value, TypeError)
    assert not future.cancel()
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_a_coroutine_function_is_refused(executor):
    """It would only make a coroutine there, and says so where it is submitted."""

    async def later():
        """Do nothing."""

    with pytest.raises(TypeError, match="coroutine"):
        executor.submit(later)


def test_a_killed_worker_does_not_poison_the_executor(executor, gate):
    """What it ran raises WorkerLost, a BrokenProcessPool; everything else has its result."""
    victims = [executor.submit(gates.wait_at, gate.address) for _ in range(2)]
    others = [executor.submit(abs, -n) for n in range(200)]
    pid = gate.arrivals(2)[0].pid
    os.kill(pid, signal.SIGKILL)
    done = concurrent.futures.wait(victims, PATIENCE, concurrent.futures.FIRST_COMPLETED).done
    (lost,) = done
    assert isinstance(lost.exception(), WorkerLost)
    assert isinstance(lost.exception(), concurrent.futures.process.BrokenProcessPool)
    gate.close()
    assert [future.result(PATIENCE) for future in others] == list(range(200))
    assert executor.submit(abs, -1).result(PATIENCE) == 1


def test_a_writable_function_gets_copies(executor):
    """One that is decorated so, by whatever it is called; a plain one gets what is read-only."""
    array = np.ones(100_000)
    assert executor.submit(arrays.doubled, array).result(PATIENCE).sum() == 200_000
    assert [each.sum() for each in executor.map(arrays.doubled, [array] * 3)] == [200_000] * 3
    assert array.sum() == 100_000
    with pytest.raises(ValueError, match="read-only"):
        executor.submit(arrays.doubled.__wrapped__, array).result(PATIENCE)


def test_cancelling_what_has_not_been_sent(gate):
    """It is never run, and wait() sees it; what runs cannot be cancelled, and says that it runs."""
    with TokenGateExecutor(1) as executor:
        first = executor.submit(gates.wait_at, gate.address, "first")
        gate.arrivals()
        rest = [executor.submit(gates.wait_at, gate.address, str(n)) for n in range(20)]
        assert first.running()
        assert not first.cancel()
        cancelled = [future for future in rest if future.cancel()]
        assert len(cancelled) > len(rest) // 2  # all but what was sent ahead
        assert all(future.cancel() and future.cancelled() for future in cancelled)
        assert concurrent.futures.wait(cancelled, PATIENCE).done == set(cancelled)
        gate.close()
        left = {str(rest.index(future)) for future in rest if future not in cancelled}
        assert {f.result(PATIENCE) for f in rest if not f.cancelled()} == left


def test_shutdown_cancels_what_has_not_been_sent(gate):
    """With cancel_futures, it waits for what runs, and the rest is cancelled."""
    executor = TokenGateExecutor(1)
    futures = [executor.submit(gates.wait_at, gate.address) for _ in range(20)]
    gate.arrivals()
    executor.shutdown(wait=False, cancel_futures=True)
    concurrent.futures.wait(futures[-1:], PATIENCE)
    assert futures[-1].cancelled()
    gate.close()
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert not futures[0].cancelled()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, 1)


def test_a_call_that_is_overtaken_by_the_shutdown(executor):
    """It says what happened, whichever of the two came first."""

    class Ending:
        def __reduce__(self):
            executor.shutdown()
            return int, ()

    executor.submit(abs, 1).result(PATIENCE)
    with pytest.raises(RuntimeError, match="after shutdown") as caught:
        executor.submit(abs, Ending())
    assert type(caught.value) is RuntimeError


def test_a_map_that_is_overtaken_by_the_shutdown(executor):
    """Likewise."""

    def ending():
        yield 1
        executor.shutdown()
        yield 2

    executor.submit(abs, 1).result(PATIENCE)
    with pytest.raises(RuntimeError, match="after shutdown") as caught:
        executor.map(abs, ending(), buffersize=4)
    assert type(caught.value) is RuntimeError


def test_without_shutdown_it_ends_with_its_last_call():
    """One that is forgotten runs what it was given, and leaves nothing behind."""
    executor = TokenGateExecutor(1)
    futures = [executor.submit(abs, -n) for n in range(100)]
    del executor
    gc.collect()
    assert [future.result(PATIENCE) for future in futures] == list(range(100))


def test_beside_a_coordinator_and_other_executors():
    """Each has processes of its own, and the coordinator's functions stay the coordinator's."""

    async def main():
        async with OperationsCoordinator(cores=1):
            with TokenGateExecutor(1) as one, TokenGateExecutor(1) as two:
                pids = {
                    one.submit(os.getpid).result(PATIENCE),
                    two.submit(os.getpid).result(PATIENCE),
                    (await work.where())[0],
                }
                assert len(pids) == 3
            assert await work.square(3) == 9

    asyncio.run(main())


def test_in_an_event_loop(executor):
    """run_in_executor and wrap_future give what they give with any executor."""

    async def main():
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, abs, -n) for n in range(1000)]
        assert await asyncio.gather(*calls) == list(range(1000))
        assert await asyncio.wrap_future(executor.submit(abs, -3)) == 3

    asyncio.run(main())


def test_calls_from_many_threads(executor):
    """Each thread gets its own results."""
    results = {}

    def run(thread):
        futures = [executor.submit(pow, thread, 2) for _ in range(300)]
        results[thread] = {future.result(PATIENCE) for future in futures}

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: {n * n} for n in range(6)}


def test_a_callback_that_exits_harms_nobody(executor, caplog):
    """SystemExit in a callback is logged, and the results that follow arrive."""

    def leave(_future):
        raise SystemExit(3)

    executor.submit(abs, 1).add_done_callback(leave)
    assert [executor.submit(abs, -n).result(PATIENCE) for n in range(10)] == list(range(10))


state: list[object] = []


def remember(*values):
    """Initialize: keep values in the core process."""
    state.extend(values)


def remembered():
    """Give what the core process keeps."""
    return state


def test_an_initializer_runs_once_in_each_process_also_in_one_that_replaces_another():
    """Its arguments may be anything; what it does is there for every call."""
    with TokenGateExecutor(2, initializer=remember, initargs=("set", {1})) as executor:
        futures = [executor.submit(remembered) for _ in range(50)]
        assert all(future.result(PATIENCE) == ["set", {1}] for future in futures)
        for _ in range(2):
            with pytest.raises(WorkerLost):
                executor.submit(os._exit, 3).result(PATIENCE)
        assert executor.submit(remembered).result(PATIENCE) == ["set", {1}]


def refuse(text):
    """Fail to initialize."""
    raise ValueError(text)


@pytest.mark.parametrize("text", ["not today", "x" * 500_000])
def test_a_failing_initializer_fails_every_call(text):
    """Each raises InitializerFailed with what was raised as the cause; none hangs."""
    with TokenGateExecutor(2, initializer=refuse, initargs=(text,)) as executor:
        for future in [executor.submit(abs, 1) for _ in range(10)]:
            with pytest.raises(InitializerFailed, match=r"ValueError: (not today|xxx)") as caught:
                future.result(PATIENCE)
            assert isinstance(caught.value, concurrent.futures.process.BrokenProcessPool)
            assert text[:100] in str(caught.value.__cause__)
        with pytest.raises(InitializerFailed):
            executor.submit(abs, 1).result(PATIENCE)


def test_an_initializer_that_cannot_be_sent_is_refused():
    """At construction, before anything is started."""
    with pytest.raises(PayloadError, match="initializer"):
        TokenGateExecutor(initializer=remember, initargs=(threading.Lock(),))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_workers": 0}, ValueError, "greater than 0"),
        ({"max_workers": 5000}, ValueError, "<= 4096"),
        ({"max_workers": "2"}, TypeError, "int, not str"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child"),
        ({"max_tasks_per_child": "3"}, TypeError, "int, not str"),
        ({"mp_context": "fork"}, TypeError, "must be a context of multiprocessing, not str"),
        ({"mp_context": multiprocessing.get_context("fork")}, ValueError, "fresh interpreters"),
        ({"initializer": 3}, TypeError, "callable"),
        ({"threads_per_core": 0}, ValueError, "threads_per_core"),
    ],
)
def test_what_is_not_allowed_is_refused_at_once(arguments, error, words):
    """Each option that is wrong or not supported is named where it is given."""
    with pytest.raises(error, match=words):
        TokenGateExecutor(**arguments)


def start_one():
    """Make a call with an executor in a core process."""
    with TokenGateExecutor(1) as executor:
        return executor.submit(abs, 1).result()


def test_none_in_a_core_process(executor):
    """It would start core processes, which would start executors."""
    with pytest.raises(CoordinatorRunning, match="core process"):
        executor.submit(start_one).result(PATIENCE)


def test_a_fork_has_no_part_in_it(executor):
    """A call in a forked child is refused, and the parent's executor goes on."""
    assert executor.submit(abs, -1).result(PATIENCE) == 1
    pid = os.fork()
    if not pid:
        try:
            executor.submit(abs, 1)
        except RuntimeError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert executor.submit(abs, -2).result(PATIENCE) == 2


# ---- map


def half(number):
    """Refuse odd numbers."""
    if number % 2:
        raise ValueError(number)
    return number // 2


def test_map_goes_on_by_itself(executor):
    """As a standard executor's does: everything is read at once, and run though nobody asks."""
    items = iter(range(50_000))
    results = executor.map(abs, items)
    assert next(items, None) is None
    executor.shutdown()
    assert list(results) == list(range(50_000))


def test_map_with_a_buffersize(executor):
    """An endless iterable is read no further ahead than that."""
    read = []

    def numbers():
        while True:
            read.append(len(read))
            yield read[-1]

    results = executor.map(abs, numbers(), buffersize=10)
    for given in range(200):
        assert next(results) == given
        assert len(read) <= given + 10
    results.close()


def test_map_raises_in_its_place(executor):
    """What comes before the failing item is given, and the error says which item it was."""
    seen = []
    with pytest.raises(ValueError, match="7") as caught:
        seen.extend(executor.map(half, [*range(0, 100, 2), 7, 8]))
    assert seen == list(range(50))
    assert caught.value.item_index == 50


@pytest.mark.parametrize("chunksize", [1, 3, 1000])
def test_map_with_a_chunksize(executor, chunksize):
    """It is kept to, and changes no result."""
    assert list(executor.map(pow, range(100), [2] * 100, chunksize=chunksize)) == [
        n * n for n in range(100)
    ]


def test_map_times_out(executor):
    """From the call on, and the rest is not begun."""
    with gates.Gate() as gate:
        results = executor.map(gates.wait_at, [gate.address], timeout=0.2)
        gate.arrivals()
        with pytest.raises(TimeoutError):
            next(results)


def test_shutdown_cancels_a_map(gate):
    """With cancel_futures, what was not sent is never run, and the results end with an error."""
    executor = TokenGateExecutor(1)
    results = executor.map(gates.wait_at, [gate.address] * 1000)
    gate.arrivals()
    executor.shutdown(wait=False, cancel_futures=True)
    gate.close()
    executor.shutdown()
    with pytest.raises(concurrent.futures.CancelledError):
        list(results)


@pytest.mark.parametrize("options", [{"chunksize": 0}, {"buffersize": 0}])
def test_map_refuses_sizes_below_one(executor, options):
    """They mean nothing."""
    with pytest.raises(ValueError, match=next(iter(options))):
        executor.map(abs, [1], **options)


def test_what_is_cancelled_never_runs(executor):
    """However close cancelling and sending come: the cores run exactly what was not cancelled."""
    futures = []
    for _ in range(50):
        futures += [executor.submit(abs, -n) for n in range(100)]
        for future in futures[-40:]:
            future.cancel()
    concurrent.futures.wait(futures, PATIENCE)
    cancelled = sum(future.cancelled() for future in futures)
    stats = executor.get_stats()
    assert sum(core["completed"] for core in stats["cores"]) == len(futures) - cancelled
    assert stats["tokens"]["killed"] == cancelled


def test_cancelling_a_call_that_its_callback_makes(executor):
    """A callback may submit and cancel: it runs in the thread that everything arrives in."""
    made = []

    def go_on(_future):
        made.append(executor.submit(abs, -1))
        made.append(executor.submit(abs, -2))
        made[-1].cancel()

    executor.submit(abs, 0).add_done_callback(go_on)
    while len(made) < 2:
        executor.submit(abs, 0).result(PATIENCE)
    assert made[0].result(PATIENCE) == 1
    assert made[1].cancelled() or made[1].result(PATIENCE) == 2


@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_map_goes_through_another_submit(chunksize):
    """As with the standard executors, whether a subclass has it or the executor itself."""

    class Counting(TokenGateExecutor):
        count = 0

        def submit(self, fn, /, *args, **kwargs):
            self.count += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(1) as executor:
        results = executor.map(pow, range(20), [2] * 20, chunksize=chunksize, timeout=20)
        assert list(results) == [n * n for n in range(20)]
        assert executor.count == (3 if chunksize == 7 else 20)
        submitted, ordinary = [], executor.submit
        executor.submit = lambda *call: submitted.append(call) or ordinary(*call)
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
        assert len(submitted) == 2
        with pytest.raises(ZeroDivisionError):
            list(executor.map(divmod, [1, 1], [1, 0], chunksize=chunksize))
