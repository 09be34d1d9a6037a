"""A core whose processes die again and again, and what does not count as such."""

from __future__ import annotations

import asyncio
import os
import signal

import endings
import gates
import pytest
import work

from tokengate_mp import CoreStartError, OperationsCoordinator, TokenKilled, WorkerLost


@pytest.fixture
def gate():
    """A gate that lets everybody pass in the end."""
    with gates.Gate() as made:
        yield made


def test_a_core_whose_processes_die_in_vain_is_given_up():
    """What only it could run raises an error that says why; none hangs."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1, restart_limit=3) as gate:
            tokens = [work.die(signal.SIGKILL) for _ in range(10)]
            tokens += [work.square(n) for n in range(10)]
            results = await asyncio.gather(*tokens, return_exceptions=True)
            kinds = [type(result) for result in results]
            assert kinds == [WorkerLost] * 4 + [CoreStartError] * 16
            assert "core 1: more than 3 of its processes" in str(results[-1])
            assert "restart_limit" in str(results[-1])
            with pytest.raises(CoreStartError, match="restart_period"):
                await work.square(1)
            (core,) = gate.get_stats()["cores"]
            assert (core["alive"], core["pid"], core["restarts"]) == (False, None, 3)

    asyncio.run(main())


def test_the_other_cores_carry_on():
    """Under strict routing only the tokens of the class are lost that had no other core."""

    async def main():
        async with OperationsCoordinator(
            cores=2, threads_per_core=1, routing="strict", restart_limit=2
        ) as coordinator:
            light = work.die.options(weight="light")
            results = await asyncio.gather(
                *(light(signal.SIGKILL) for _ in range(6)), return_exceptions=True
            )
            assert [type(result) for result in results] == [WorkerLost] * 3 + [CoreStartError] * 3
            heavy = work.square.options(weight="heavy")
            assert await asyncio.gather(*map(heavy, range(100))) == [n * n for n in range(100)]
            with pytest.raises(CoreStartError, match="core 2"):
                await work.square.options(weight="light")(1)
            assert [core["alive"] for core in coordinator.get_stats()["cores"]] == [True, False]

    asyncio.run(main())


def test_processes_that_die_idle_are_limited_too():
    """Whoever kills them while they have nothing to do: no token is told before one is made."""

    async def main():
        async with OperationsCoordinator(cores=1, restart_limit=2) as coordinator:
            for _ in range(3):
                while not (core := coordinator.get_stats()["cores"][0])["alive"]:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                os.kill(core["pid"], signal.SIGKILL)
                while coordinator.get_stats()["cores"][0]["pid"] == core["pid"]:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            with pytest.raises(CoreStartError, match="restart_limit"):
                await work.square(1)

    asyncio.run(main())


def test_processes_that_were_of_use_do_not_count():
    """Tokens that crash their processes among others that do not: each is lost alone."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=1, restart_limit=0
        ) as coordinator:
            for n in range(6):
                assert await work.square(n) == n * n
                with pytest.raises(WorkerLost):
                    await work.die(signal.SIGKILL)
            assert await work.square(7) == 49
            assert coordinator.get_stats()["cores"][0]["restarts"] == 6

    asyncio.run(main())


def test_processes_that_were_ended_with_a_token_do_not_count(gate):
    """One that does not heed being killed takes its process along, and that is no fault of it."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=1, restart_limit=0, grace=0.05
        ) as coordinator:
            for _ in range(4):
                token = endings.catches_everything(gate.address)
                await asyncio.to_thread(gate.arrivals)
                token.kill("enough")
                with pytest.raises(TokenKilled):
                    await token
            assert await work.square(7) == 49
            assert coordinator.get_stats()["cores"][0]["restarts"] == 4

    asyncio.run(main())
