"""Mapping a function over items, with a loop and without one; and what goes wrong with some."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import pickle
import signal
import threading
import time
from functools import partial
from pathlib import Path

import gates
import pytest
import work

from tokengate_mp import (
    CoordinatorNotRunning,
    OperationsCoordinator,
    PayloadError,
    RemoteError,
    WorkerLost,
    as_completed,
    task_token_guard,
)

PATIENCE = 20


@task_token_guard(operation_type="last")
def last(number: int, others: str) -> bool:
    """Leave a trace; or, for one number, compute until all the others have; whether they did."""
    if number != 200:
        (Path(others) / str(number)).touch()
        return True
    deadline = time.monotonic() + PATIENCE
    while sum(1 for _ in Path(others).iterdir()) < 399:
        if time.monotonic() > deadline:
            return False
    return True


@task_token_guard(operation_type="picky")
def picky(number: int) -> list[int]:
    """Refuse every number that ends in 7."""
    if number % 10 == 7:
        raise ValueError(number)
    return [number]


@task_token_guard(operation_type="add")
def add(one: int, other: int) -> int:
    """Add."""
    return one + other


@task_token_guard(operation_type="lock or number")
def lock_at(number: int):
    """Give what cannot be sent, for one number."""
    return threading.Lock() if number == 5 else number


@task_token_guard(operation_type="leave at")
def leave_at(number: int) -> int:
    """End the process, for one number."""
    if number == 50:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@task_token_guard(operation_type="exit at")
def exit_at(number: int) -> int:
    """Try to end the process, for one number."""
    if number == 3:
        raise SystemExit(number)
    return number


class Unloadable:
    """What pickles, and does not unpickle."""

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise pickle.UnpicklingError("not here")


@pytest.fixture
def coordinator():
    """A coordinator with a loop of its own."""
    with OperationsCoordinator(cores=2) as coordinator:
        yield coordinator


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 100_000])
def test_without_a_loop(coordinator, count):
    """`for` gives what the built-in map gives, however many there are."""
    squares = work.square.map(range(count))
    assert list(squares) == [n * n for n in range(count)]


@pytest.mark.parametrize(
    "items",
    [
        range(900, -3, -7),
        range(2**63 - 500, 2**63 + 500),
        range(-(2**70), -(2**70) + 10**6, 999),
        range(0, 10**40, 10**37),
    ],
    ids=["backwards", "across 64 bits", "beyond them", "far apart"],
)
def test_any_range(coordinator, items):
    """A range travels as one where its numbers do."""
    assert list(work.echo.map(items)) == list(items)
    assert list(work.echo.map(items, buffersize=9, ordered=True)) == list(items)


def test_a_range_longer_than_any_list(coordinator):
    """It is read as results are asked for."""
    squares = iter(work.square.map(range(10**30)))
    assert [next(squares) for _ in range(10_000)] == [n * n for n in range(10_000)]


def test_in_a_loop():
    """`async for` gives the results in order, and awaiting gives them as a list, any time."""

    async def main():
        async with OperationsCoordinator(cores=2):
            assert [x async for x in work.square.map(range(5000))] == [n * n for n in range(5000)]
            squares = work.square.map(range(5000))
            assert await squares == [n * n for n in range(5000)]
            assert await squares == [n * n for n in range(5000)]

    asyncio.run(main())


def test_in_another_threads_loop(coordinator):
    """The results come to the loop that asks for them."""

    async def main():
        return await work.square.map(range(1000))

    assert asyncio.run(main()) == [n * n for n in range(1000)]


def test_several_iterables(coordinator):
    """They are gone through side by side, and the shortest ends it."""
    assert list(add.map(range(100), itertools.count(1))) == [2 * n + 1 for n in range(100)]


def test_as_they_come(coordinator):
    """Unordered, each result is there once, and a quick one does not wait for a slow one."""
    assert sorted(work.square.map(range(1000), ordered=False)) == [n * n for n in range(1000)]
    with gates.Gate() as gate:
        both = coordinator.map(wait_or_pass, [gate.address, None], ordered=False)
        results = iter(both)
        assert next(results) == "passed"
        gate.close()
        assert next(results) == "waited"


def wait_or_pass(address):
    """Wait at a gate, if there is one."""
    if address is None:
        return "passed"
    gates.wait_at(address)
    return "waited"


def test_plain_functions(coordinator):
    """What cannot be decorated is mapped by the coordinator: built-ins, lambdas, partials …."""
    assert list(coordinator.map(abs, [-1, -2])) == [1, 2]
    assert list(coordinator.map(lambda x: -x, range(100))) == [-n for n in range(100)]
    assert list(coordinator.map(partial(pow, 2), range(70))) == [2**n for n in range(70)]
    assert list(coordinator.map(picky, [1, 2])) == [[1], [2]]
    with pytest.raises(TypeError, match="not callable"):
        coordinator.map(3, [])


@pytest.mark.parametrize("buffersize", [1, 2, 7, 1000])
def test_no_more_than_buffersize_is_under_way(coordinator, buffersize):
    """An endless iterable is read that far ahead of the results, and no further."""
    read = []

    def numbers():
        while True:
            read.append(len(read) + 1)
            yield read[-1]

    squares = work.square.map(numbers(), buffersize=buffersize)
    for given, square in enumerate(itertools.islice(squares, 3000)):
        assert square == (given + 1) ** 2
        assert len(read) <= given + buffersize


def test_an_endless_iterable(coordinator):
    """By default too, it is read as results are asked for."""
    squares = iter(work.square.map(itertools.count()))
    assert [next(squares) for _ in range(10_000)] == [n * n for n in range(10_000)]


def slow_numbers():
    """Numbers without end, each of which takes longer to come to than a core needs for it."""
    for number in itertools.count():
        end = time.perf_counter() + 0.003
        while time.perf_counter() < end:
            pass
        yield number


def test_results_come_while_a_slow_iterable_goes_on(coordinator):
    """It is never ahead of the cores, and has no end."""
    results = iter(work.square.map(slow_numbers()))
    assert list(itertools.islice(results, 20)) == [n * n for n in range(20)]
    results.close()


def test_a_slow_iterable_lets_the_loop_run():
    """Between two of its items others have their turn, and results come."""

    async def main():
        turns = itertools.count()

        async def others():
            while True:
                next(turns)
                await asyncio.sleep(0)

        async with OperationsCoordinator(cores=2):
            beside, results = asyncio.create_task(others()), []
            async for result in work.square.map(slow_numbers()):
                results.append(result)
                if len(results) == 20:
                    break
            beside.cancel()
            assert results == [n * n for n in range(20)]
            assert next(turns) >= 10

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["scalars", "others"])
@pytest.mark.parametrize("how", [iter, lambda results: results], ids=["one", "each"])
def test_results_that_several_threads_take_are_not_lost(coordinator, kind, how):
    """Each goes to one of them, from one iterator or from several."""
    function = work.square if kind == "scalars" else picky
    items = [n for n in range(5000) if n % 10 != 7]
    results, got = how(iter(function.map(items))), []

    def take():
        for result in results:
            got.append(result)  # noqa: PERF402 - one at a time, as another thread does, too

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    expected = [n * n if kind == "scalars" else [n] for n in items]
    assert sorted(got) == expected


def test_an_iterable_that_takes_from_its_own_results(coordinator):
    """It is refused, as by any generator, and does not wait for itself."""
    taking = []

    def items():
        yield from range(100)
        yield next(taking[0])

    taking.append(iter(work.square.map(items())))
    with pytest.raises(ValueError, match="already executing"):
        list(taking[0])


def test_a_failing_item(coordinator):
    """What it raises comes in its place, with its index; what came before it is there."""
    seen = []
    with pytest.raises(ValueError, match="17") as caught:
        seen.extend(picky.map([*range(7), *range(11, 1000)]))
    assert caught.value.item_index == 13
    assert any("item 13" in note for note in caught.value.__notes__)
    assert "picky" in str(caught.value.__cause__)
    assert seen == [[n] for n in (*range(7), *range(11, 17))]


def test_errors_among_results(coordinator):
    """With return_exceptions every item has its result or its error, in its place."""
    results = list(picky.map(range(1000), return_exceptions=True))
    for number, result in enumerate(results):
        if number % 10 == 7:
            assert isinstance(result, ValueError)
            assert result.item_index == number
        else:
            assert result == [number]


def test_awaiting_a_map_with_a_failing_item():
    """It raises that error, and the coordinator goes on."""

    async def main():
        async with OperationsCoordinator(cores=2):
            with pytest.raises(ValueError, match="7"):
                await picky.map(range(5000))
            results = await picky.map(range(8), return_exceptions=True)
            assert results[:7] == [[n] for n in range(7)]
            assert isinstance(results[7], ValueError)

    asyncio.run(main())


def test_an_exit_is_an_error_of_its_item(coordinator):
    """SystemExit arrives as RemoteError, and the other items of the batch have their results."""
    *rest, four = exit_at.map([0, 1, 2, 4, 3], return_exceptions=True)
    assert rest == [0, 1, 2, 4]
    assert isinstance(four, RemoteError)


def stop_at_three(number, step=0):
    """Raise what looks like the end of an iterator, for one number."""
    if number == 3:
        raise StopIteration("three")
    return number + step


@pytest.mark.parametrize("more", [[], [[1] * 6]])
def test_a_stop_iteration_is_an_error_of_its_item(coordinator, more):
    """It ends neither the batch nor the map."""
    results = list(coordinator.map(stop_at_three, range(6), *more, return_exceptions=True))
    three = results.pop(3)
    assert isinstance(three, RemoteError)
    assert "StopIteration" in str(three)
    assert "three" in str(three)
    assert any("stop_at_three" in line for line in str(three.__cause__ or three).splitlines())
    assert results == [n + len(more) for n in (0, 1, 2, 4, 5)]


def test_an_argument_that_cannot_be_sent(coordinator):
    """It fails its own item, however large the batch."""
    items = [*range(500), threading.Lock(), *range(500)]
    results = list(work.echo.map(items, return_exceptions=True))
    assert isinstance(results[500], PayloadError)
    assert results[500].item_index == 500
    assert results[:500] + results[501:] == [*range(500), *range(500)]


def test_an_argument_that_cannot_be_loaded(coordinator):
    """The same in the core process."""
    items = [*range(300), Unloadable(), *range(300)]
    results = list(work.echo.map(items, return_exceptions=True))
    assert isinstance(results[300], pickle.UnpicklingError)
    assert results[300].item_index == 300
    assert any("when it was loaded in the core" in note for note in results[300].__notes__)
    assert results[:300] + results[301:] == [*range(300), *range(300)]


def test_a_result_that_cannot_be_sent(coordinator):
    """It fails its own item."""
    results = list(lock_at.map(range(100), return_exceptions=True))
    assert isinstance(results[5], PayloadError)
    assert "lock" in str(results[5])
    assert results[:5] + results[6:] == [*range(5), *range(6, 100)]


def make_unloadable(number):
    """Give what cannot be loaded, for one number."""
    return Unloadable() if number == 5 else (number,)


def test_a_result_that_cannot_be_loaded(coordinator):
    """It fails its own item here too."""
    results = list(coordinator.map(make_unloadable, range(100), return_exceptions=True))
    assert isinstance(results[5], PayloadError)
    assert results[4] == (4,)
    assert results[6] == (6,)


def test_values_come_out_as_they_are(coordinator):
    """Every type survives, mixed in one batch."""
    items = [1, True, None, 2**100, "\ud800", b"x", (1, 2), [1], {3}, {"a": (1,)}, 1.5, 10**30]
    items *= 20
    results = list(work.echo.map(items))
    assert results == items
    assert list(map(type, results)) == list(map(type, items))


@pytest.mark.parametrize("kind", [range, lambda count: list(range(count))], ids=["range", "list"])
def test_a_process_that_dies(coordinator, kind):
    """The items of the batch that it was running are lost, and say so; all others have results."""
    results = list(leave_at.map(kind(2000), return_exceptions=True))
    lost = [index for index, result in enumerate(results) if isinstance(result, WorkerLost)]
    assert 50 in lost
    assert len(lost) < 2000
    assert all(results[n] == n for n in range(2000) if n not in lost)


def test_an_iterable_that_raises(coordinator):
    """Its error comes after the results of what it gave before."""

    def numbers():
        yield from range(100)
        raise LookupError("no more")

    seen = []
    with pytest.raises(LookupError, match="no more"):
        seen.extend(work.square.map(numbers()))
    assert seen == [n * n for n in range(100)]


def test_stopping_before_the_end(coordinator):
    """What is under way is withdrawn, and the coordinator has nothing left to do."""
    for _ in work.nap.map(itertools.repeat(0.001)):
        break
    squares = work.square.map(itertools.count())
    squares.close()
    with pytest.raises(CoordinatorNotRunning, match="closed"):
        list(squares)
    del squares
    gc.collect()
    assert work.square(3).get(PATIENCE) == 9


def where_it_spins(seconds):
    """Compute for so long, if at all, and give the process that did."""
    if not seconds:
        return 0
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return os.getpid()


def test_long_items_behind_short_ones_are_shared_out(coordinator):
    """However many short ones a batch has because of that, the long ones do not stay with it."""
    items = [0] * 30_000 + [0.03] * 40
    assert len({*coordinator.map(where_it_spins, items)}) == 3


def test_a_map_is_gone_through_once(coordinator):
    """A second time would find nothing, and says so."""
    squares = work.square.map(range(3))
    assert list(squares) == [0, 1, 4]
    with pytest.raises(RuntimeError, match="once"):
        iter(squares)


def test_for_in_the_coordinators_own_loop():
    """It would wait for what the loop has to bring, and says what to write instead."""

    async def main():
        async with OperationsCoordinator(cores=1):
            with pytest.raises(RuntimeError, match="async for"):
                list(work.square.map(range(3)))

    asyncio.run(main())


def test_without_a_coordinator():
    """It says so at the call."""
    with pytest.raises(CoordinatorNotRunning, match="square"):
        work.square.map([1])


def test_the_coordinator_stops_meanwhile():
    """Whoever waits gets an error, not nothing for ever."""

    async def main():
        coordinator = OperationsCoordinator(cores=1).start()
        with gates.Gate() as gate:
            waiting = asyncio.ensure_future(_listed(coordinator.map(wait_or_pass, [gate.address])))
            await asyncio.to_thread(gate.arrivals)
            coordinator.stop()
            with pytest.raises(Exception, match="stopped"):
                await asyncio.wait_for(waiting, PATIENCE)

    asyncio.run(main())


async def _listed(results):
    return await results


@pytest.mark.parametrize(
    ("buffersize", "error"),
    [(0, ValueError), (-1, ValueError), ("3", TypeError), (True, TypeError)],
)
def test_a_buffersize_that_is_not_allowed(coordinator, buffersize, error):
    """It is refused at the call."""
    with pytest.raises(error, match="buffersize"):
        work.square.map([], buffersize=buffersize)


def test_batches_are_counted_apart(coordinator):
    """The statistics show them as an operation of their own, far fewer than items."""
    assert len(list(work.square.map(range(50_000)))) == 50_000
    counts = coordinator.get_stats()["operations"]["square.map"]["counts"]
    assert 0 < counts["completed"] < 1000


@pytest.mark.parametrize("options", [{"timeout": 1.0}, {"retries": 2}])
def test_options_of_a_token_are_not_those_of_an_item(coordinator, options):
    """A limit that could not be kept is refused, and the way out is named."""
    with pytest.raises(ValueError, match=r"timeout=None, retries=0"):
        work.square.options(**options).map([1])
    cleared = work.square.options(**options).options(timeout=None, retries=0)
    assert list(cleared.map([2])) == [4]


@pytest.mark.parametrize("how", ["for", "await", "as_completed"])
def test_one_cancellation_is_enough(how):
    """Results keep coming when the task that takes them is cancelled: it ends all the same."""

    async def take(begun):
        if how == "await":
            endless = iter(lambda: begun.set() or 1, None)
            await work.square.map(endless)
        elif how == "for":
            async for _ in work.square.map(itertools.count()):
                begun.set()
        else:
            while True:
                async for _ in as_completed([work.square(n) for n in range(2000)]):
                    begun.set()

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            for turn in range(12):
                begun = asyncio.Event()
                task = asyncio.create_task(take(begun))
                await begun.wait()
                for _ in range(turn):  # at one moment or another
                    await work.square(turn)
                task.cancel()
                ended, _ = await asyncio.wait([task], timeout=10)
                assert ended
                assert task.cancelled()
            coordinator.drain_pool()

    asyncio.run(main())


def test_what_lies_behind_a_long_item_in_its_batch_is_done_meanwhile(tmp_path):
    """It goes to the other core, once, though nobody knew beforehand which item is long."""
    with OperationsCoordinator(cores=2, threads_per_core=1) as c:
        assert all(last.map(range(400), [str(tmp_path)] * 400))
        counts = c.get_stats()["operations"]["last.map"]["counts"]
    assert counts["completed"] < 200  # so they were in batches
