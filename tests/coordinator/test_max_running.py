"""An operation with `max_running` has no more tokens on cores than that, and no fewer either."""

from __future__ import annotations

import asyncio
import pickle
import time
from itertools import pairwise

import gates
import pytest
import work

from tokengate_mp import (
    OperationsCoordinator,
    TokenKilled,
    TokenTimeout,
    WorkerLost,
    task_token_guard,
)


@pytest.fixture
def gate():
    """A gate for the tokens of a test."""
    with gates.Gate() as made:
        yield made


async def arrived(gate, count=1):
    """Wait for tokens to come to the gate while the loop goes on."""
    return await asyncio.to_thread(gate.names, count)


def operation(coordinator, name):
    """What the statistics say of an operation."""
    return coordinator.get_stats()["operations"][name]


@task_token_guard(operation_type="few", max_running=2)
def few(address: gates.Address, name: str = "") -> str:
    """Wait at a gate, two at a time."""
    return gates.wait_at(address, name)


def test_so_many_run_and_the_next_begins_when_one_ends(run):
    """Two of an operation are on cores, others pass by them, and each that ends makes room."""

    async def main():
        with gates.Gate() as gate:
            async with OperationsCoordinator(cores=2, threads_per_core=4) as c:
                tokens = [few(gate.address, str(n)) for n in range(6)]
                assert sorted(await arrived(gate, 2)) == ["0", "1"]
                assert await asyncio.gather(*map(work.square, range(500))) == [
                    n * n for n in range(500)
                ]
                assert operation(c, "few")["max_running"] == 2
                assert operation(c, "few")["held"] == 2
                assert c.get_stats()["tokens"]["waiting"] == 4
                gate.open("1")
                assert await arrived(gate) == ["2"]
                gate.open("0", "2")
                assert sorted(await arrived(gate, 2)) == ["3", "4"]
                gate.open()
                await arrived(gate)
                gate.open()
                assert await asyncio.gather(*tokens) == [str(n) for n in range(6)]
                assert operation(c, "few")["held"] == 0
                assert operation(c, "square")["max_running"] is None

    run(main)


def test_ended_and_retried_tokens_make_room(gate):
    """One that is killed, whose time is up, or whose process dies leaves its place to the next."""

    async def main():
        async with OperationsCoordinator(cores=2, grace=20) as c:
            one = work.spinning.options(operation_type="one", max_running=1)
            first, second, third = (one(gate.address, str(n)) for n in range(3))
            assert await arrived(gate) == ["0"]
            second.kill("not needed")
            timed = one.options(timeout=0.05)(gate.address, "timed")
            with pytest.raises(TokenTimeout):
                await timed
            first.kill("no more")
            for token in (first, second):
                with pytest.raises(TokenKilled):
                    await token
            assert await arrived(gate) == ["2"]
            gate.open()
            assert await third == "2"
            dying = work.die.options(operation_type="dies", max_running=1, idempotent=True)
            lost = [dying(3) for _ in range(3)]
            for token in lost:
                with pytest.raises(WorkerLost):
                    await token
            assert operation(c, "dies")["held"] == 0

    asyncio.run(main())


def test_pausing_and_draining_a_limited_operation(gate):
    """What waits before its lane can be held back, killed and drained like anything else."""

    async def main():
        async with OperationsCoordinator(cores=1) as c:
            one = few.options(operation_type="one", max_running=1)
            running = one(gate.address, "runs")
            assert await arrived(gate) == ["runs"]
            waiting = [one(gate.address, str(n)) for n in range(10)]
            c.pause_operation("one")
            gate.open()
            assert await running == "runs"
            waiting[0].kill()
            assert c.drain_operation("one") == 9
            last = one(gate.address, "last")
            assert await work.echo(1) == 1
            c.resume_operation("one")
            assert await arrived(gate) == ["last"]
            gate.open()
            assert await last == "last"
            for token in waiting:
                with pytest.raises(TokenKilled):
                    await token

    asyncio.run(main())


def test_a_map_and_tokens_are_limited_together(gate):
    """A batch of a map is one of those that may run."""

    async def main():
        async with OperationsCoordinator(cores=2) as c:
            one = few.options(operation_type="one", max_running=1)
            token = one(gate.address, "token")
            assert await arrived(gate) == ["token"]
            mapped = asyncio.ensure_future(_mapped(one, gate.address, 3))
            assert await work.echo(1) == 1
            assert operation(c, "one.map")["held"] == 1
            seen = []
            while len(seen) < 3:
                gate.open()
                seen += await arrived(gate)
            gate.open()
            assert (await token, sorted(await mapped)) == ("token", ["0", "1", "2"])

    asyncio.run(main())


async def _mapped(function, address, count):
    return await function.map([address] * count, map(str, range(count)))


# ---- where tokens wait for tokens


@task_token_guard(operation_type="down", max_running=1)
def down(depth: int) -> int:
    """Count the tokens of a line of them, each of which waits for the next."""
    return 1 + down(depth - 1).get() if depth else 1


@task_token_guard(operation_type="left", max_running=1)
def left(depth: int) -> int:
    """The same, by turns with `right`."""
    return 1 + right(depth - 1).get() if depth else 1


@task_token_guard(operation_type="right", max_running=1)
def right(depth: int) -> int:
    """The same, by turns with `left`."""
    return 1 + left(depth - 1).get() if depth else 1


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("cores", [1, 2])
def test_tokens_that_wait_for_their_own_operation_do_not_wait_for_ever(cores, threads):
    """A limit of one is no deadlock for recursion, direct or by way of another such operation."""

    async def main():
        async with OperationsCoordinator(cores=cores, threads_per_core=threads) as c:
            deep = [down(5) for _ in range(6)]
            crossed = [f(5) for _ in range(4) for f in (left, right)]
            assert await asyncio.gather(*deep) == [6] * 6
            assert await asyncio.gather(*crossed) == [6] * 8
            assert operation(c, "down")["held"] == 0

    asyncio.run(main())


@task_token_guard(operation_type="guarded", max_running=1)
def guarded() -> tuple[int, int]:
    """Say from when to when this ran."""
    began = time.monotonic_ns()
    time.sleep(0.01)
    return began, time.monotonic_ns()


@task_token_guard(operation_type="asks")
def asks(count: int) -> list:
    """Wait for guarded tokens, made here."""
    return [token.get() for token in [guarded() for _ in range(count)]]


def test_a_token_that_is_waited_for_waits_for_its_turn_all_the_same():
    """Tokens without a limit that wait for limited ones never make two of these run at once."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=2):
            asked = await asyncio.gather(*(asks(3) for _ in range(8)), guarded(), guarded())
        runs = sorted([run for some in asked[:8] for run in some] + asked[8:])
        assert len(runs) == 26
        for (_, ended), (began, _) in pairwise(runs):
            assert ended <= began

    asyncio.run(main())


@task_token_guard(operation_type="chain", external_calls=["guarded"], max_running=1)
def chain(count: int) -> list:
    """Lead a chain of guarded tokens."""
    return [guarded() for _ in range(count)]


def test_chains_are_counted_and_not_held_back():
    """Leads wait for their turn; what their chains are made of runs, and is counted."""

    async def main():
        async with OperationsCoordinator(cores=2) as c:
            leads = [chain(3) for _ in range(4)]
            made = await asyncio.gather(*leads)
            await asyncio.gather(*(token for some in made for token in some), guarded())
            assert operation(c, "guarded")["held"] == 0
            assert operation(c, "guarded")["counts"]["completed"] == 13

    asyncio.run(main())


# ---- sticky keys, and what is said of limits


def test_anchored_tokens_of_a_limited_operation_stay_on_their_core():
    """A key keeps its core, and what cannot go there yet does not keep others from theirs."""

    async def main():
        async with OperationsCoordinator(cores=3) as c:
            pinned = work.echo.options(
                operation_type="pinned", sticky_anchor="a", max_running=2, weight="heavy"
            )
            cores = {}
            for token in [pinned(n % 7) for n in range(300)]:
                cores.setdefault(await token, set()).add(token.core)
            assert all(len(each) == 1 for each in cores.values())
            assert operation(c, "pinned")["held"] == 0

    asyncio.run(main())


def test_an_operation_has_one_limit():
    """Functions of one operation that say different things are refused at the call."""
    with OperationsCoordinator(cores=1):
        assert down(0).get(20) == 1
        for most in (2, None):
            with pytest.raises(ValueError, match="'down' has max_running"):
                down.options(max_running=most)(0)
        assert down.options(max_running=2, operation_type="other")(0).get(20) == 1


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_a_limit_is_a_whole_number_from_one(value, error):
    """Anything else is refused at decoration, by name."""
    with pytest.raises(error, match="max_running"):
        task_token_guard(operation_type="x", max_running=value)


def test_copies_keep_the_limit():
    """Options that are not named stay, in a copy and in a pickle."""
    copy = few.options(timeout=3)
    assert copy.token_options.policy.max_running == 2
    assert pickle.loads(pickle.dumps(copy.token_options)) == copy.token_options
    assert pickle.loads(pickle.dumps(copy)).token_options == copy.token_options
    assert few.options(max_running=None).token_options.policy.max_running is None
