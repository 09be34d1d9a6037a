"""Time limits and further runs, with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import endings
import gates
import pytest
import work
from cores import stop

from tokengate_mp import OperationsCoordinator, TokenTimeout, WorkerLost, task_token_guard


@pytest.fixture
def gate():
    """A gate for the tokens of a test."""
    with gates.Gate() as made:
        yield made


def runs(path: Path) -> int:
    """How many times a token has begun that marks its runs in this file."""
    return len(path.read_bytes()) if path.exists() else 0


def begin(path: str) -> int:
    """Mark a run; how many there were before."""
    with Path(path).open("ab", buffering=0) as marks:
        marks.write(b"x")
        return marks.tell() - 1


@task_token_guard(operation_type="flaky")
def flaky(path: str, failures: int) -> int:
    """Fail so many times, and then give the number of the run."""
    run = begin(path)
    if run < failures:
        raise [ValueError, OSError, KeyError][run % 3](f"failure {run}")
    return run


@task_token_guard(operation_type="deadly")
def deadly(path: str, deaths: int) -> int:
    """Take so many processes along, and then give the number of the run."""
    run = begin(path)
    if run < deaths:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    return run


def test_a_token_is_run_again_until_it_succeeds(tmp_path):
    """The same token gives the result in the end; others run meanwhile."""

    async def main():
        async with OperationsCoordinator(cores=2) as c:
            tokens = [flaky.options(retries=3)(str(tmp_path / str(n)), n % 4) for n in range(40)]
            squares = [work.square(n) for n in range(40)]
            assert await asyncio.gather(*tokens) == [n % 4 for n in range(40)]
            assert await asyncio.gather(*squares) == [n * n for n in range(40)]
            counts = c.get_stats()["operations"]["flaky"]["counts"]
            assert (counts["completed"], counts["failed"]) == (40, 0)
            assert counts["retried"] == sum(n % 4 for n in range(40))
            assert not c._run.engine._scheduler._retries.trials

    asyncio.run(main())


def test_the_last_error_carries_the_earlier_ones(tmp_path):
    """It is raised as it is, and tells of the others in its notes and its context."""

    async def main():
        async with OperationsCoordinator(cores=1):
            with pytest.raises(KeyError) as caught:
                await flaky.options(retries=2)(str(tmp_path / "a"), 9)
        last = caught.value
        assert last.__notes__ == [
            "run 1 of 3 ended with ValueError: failure 0",
            "run 2 of 3 ended with OSError: failure 1",
        ]
        assert isinstance(last.__context__, OSError)
        assert isinstance(last.__context__.__context__, ValueError)
        assert "failure 2" in str(last.__cause__)

    asyncio.run(main())


def test_only_the_named_errors_lead_to_another_run(tmp_path):
    """What is not in `retry_on` ends the token at once."""

    async def main():
        async with OperationsCoordinator(cores=1):
            with pytest.raises(OSError, match="failure 1"):
                await flaky.options(retries=9, retry_on=ValueError)(str(tmp_path / "a"), 9)
        assert runs(tmp_path / "a") == 2

    asyncio.run(main())


def test_there_is_a_pause_before_another_run(tmp_path):
    """Half of `backoff`, doubled each time, at the least; meanwhile the core does other work."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1) as c:
            token = flaky.options(retries=2, backoff=0.1)(str(tmp_path / "a"), 2)
            while not c.get_stats()["operations"]["flaky"]["counts"]["retried"]:
                await work.square(3)
            assert token.state.name == "WAITING"
            assert await token == 2
            took = token.timing.finished - token.timing.created
            assert took >= (0.1 + 0.2) / 2 * 1e9

    asyncio.run(main())


def test_a_token_in_its_pause_can_be_killed(tmp_path):
    """It waits like any other."""

    async def main():
        async with OperationsCoordinator(cores=1) as c:
            token = flaky.options(retries=2, backoff=1000)(str(tmp_path / "a"), 2)
            while not c.get_stats()["operations"]["flaky"]["counts"]["retried"]:
                await work.square(3)
            assert c.drain_pool() == 1
            assert token.state.name == "KILLED"
            await c.join()

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"idempotent": True}, {"retries": 1}])
def test_a_token_outlives_its_process(tmp_path, options):
    """Declared idempotent, or with runs left, it is run again when its process died under it."""

    async def main():
        async with OperationsCoordinator(cores=1):
            assert await deadly.options(**options)(str(tmp_path / "a"), 1) == 1

    asyncio.run(main())


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_poisonous_token_is_given_up(tmp_path, limit):
    """After `poison_limit` dead processes it is lost, however often it may be run."""

    async def main():
        async with OperationsCoordinator(cores=2, poison_limit=limit):
            token = deadly.options(idempotent=True, retries=99)(str(tmp_path / "a"), 99)
            squares = [work.square(n) for n in range(100)]
            with pytest.raises(WorkerLost) as caught:
                await token
            assert len(getattr(caught.value, "__notes__", [])) == limit - 1
            assert runs(tmp_path / "a") == limit
            assert await asyncio.gather(*squares) == [n * n for n in range(100)]

    asyncio.run(main())


def test_without_leave_a_lost_token_is_not_run_again(tmp_path):
    """It might have done half its work."""

    async def main():
        async with OperationsCoordinator(cores=1):
            with pytest.raises(WorkerLost):
                await deadly(str(tmp_path / "a"), 1)
            with pytest.raises(WorkerLost):
                await deadly.options(retries=3, retry_on=ValueError)(str(tmp_path / "b"), 1)
        assert runs(tmp_path / "a") == runs(tmp_path / "b") == 1

    asyncio.run(main())


def test_a_running_token_ends_when_its_time_is_up(gate):
    """Its function is interrupted, and its process goes on."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1, grace=20) as c:
            before = c.get_stats()["cores"][0]["pid"]
            token = work.spinning.options(timeout=0.3)(gate.address)
            with pytest.raises(TokenTimeout, match=r"spinning.*0.3 s") as caught:
                await token
            assert isinstance(caught.value, TimeoutError)
            assert token.state.name == "TIMEOUT"
            assert await work.square(3) == 9
            stats = c.get_stats()
            assert stats["cores"][0]["pid"] == before
            assert stats["tokens"]["timeout"] == 1
            assert stats["operations"]["spinning"]["counts"]["timeout"] == 1

    asyncio.run(main())


def test_a_waiting_token_ends_when_its_time_is_up(gate):
    """The limit counts from the call; one that was never begun never is."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1) as c:
            c.pause_admission()
            tokens = [work.echo.options(timeout=0.05)(n) for n in range(10)]
            for token in tokens:
                with pytest.raises(TokenTimeout):
                    await token
                assert token.timing.admitted is None
            c.resume_admission()
            assert await work.echo.options(timeout=60)(1) == 1

    asyncio.run(main())


def test_a_stopped_process_is_no_way_round_a_time_limit(gate):
    """Stuck in C code or stopped by a signal, the process is replaced after `grace`."""

    async def main():
        async with OperationsCoordinator(cores=1, grace=0.05) as c:
            token = endings.sleeps.options(timeout=5)(gate.address)
            (arrival,) = await asyncio.to_thread(gate.arrivals, 1)
            stop(arrival.pid)
            assert token.kill()
            assert await work.square(3) == 9
            assert c.get_stats()["cores"][0]["pid"] != arrival.pid

    asyncio.run(main())
