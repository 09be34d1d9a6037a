"""The initializer of a coordinator."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest
import work
import worn

from tokengate_mp import InitializerFailed, OperationsCoordinator, PayloadError, WorkerLost


def test_it_runs_once_in_each_process_before_its_first_token():
    """In those that replace another one, dead or recycled, too."""

    async def main():
        async with OperationsCoordinator(
            cores=2, initializer=worn.prepare, initargs=("set", {1}), max_tokens_per_core=30
        ) as coordinator:
            seen = set()
            while len(seen) < 5:
                seen_here = await asyncio.gather(*(worn.what_is_prepared() for _ in range(40)))
                for pid, prepared in seen_here:
                    seen.add(pid)
                    assert prepared == ["set", {1}]
            with pytest.raises(WorkerLost):
                await work.die(signal.SIGKILL)
            assert (await worn.what_is_prepared())[1] == ["set", {1}]
            assert coordinator.get_stats()["tokens"]["failed"] == 1

    asyncio.run(main())


def test_it_may_be_a_function_of_the_script():
    """It travels by value, as a token's function would."""
    table = {"a": 1}

    def prepare():
        worn.prepared.append(table)

    with OperationsCoordinator(cores=1, initializer=prepare):
        assert worn.what_is_prepared().get(20)[1] == [table]


def test_one_that_fails():
    """Every token raises InitializerFailed, with what was raised as its cause; none hangs."""

    async def main():
        async with OperationsCoordinator(
            cores=2, initializer=worn.refuse, initargs=("not today",)
        ) as coordinator:
            results = await asyncio.gather(*map(work.square, range(20)), return_exceptions=True)
            assert {type(result) for result in results} == {InitializerFailed}
            assert "ValueError: not today" in str(results[0])
            assert isinstance(results[0].__cause__, ValueError)
            with pytest.raises(InitializerFailed):
                await work.square(1)
            assert coordinator.get_stats()["tokens"]["failed"] == 21

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"initializer": 3}, TypeError, "callable"),
        ({"initializer": worn.prepare_later}, TypeError, "coroutine"),
        (
            {"initializer": worn.prepare, "initargs": (threading.Lock(),)},
            PayloadError,
            "initializer or its arguments",
        ),
        ({"max_tokens_per_core": 0}, ValueError, "max_tokens_per_core"),
        ({"max_tokens_per_core": "5"}, TypeError, "max_tokens_per_core"),
        ({"max_rss": 512}, ValueError, "max_rss"),
        ({"restart_limit": -1}, ValueError, "restart_limit"),
        ({"restart_period": 0}, ValueError, "restart_period"),
    ],
)
def test_what_is_not_allowed_is_refused_at_once(options, error, words):
    """Where the option is given, before anything is started."""
    with pytest.raises(error, match=words):
        OperationsCoordinator(**options)
