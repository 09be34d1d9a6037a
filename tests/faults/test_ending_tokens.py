"""A token that is ended while it runs really stops, and harms no other."""

from __future__ import annotations

import asyncio
import random

import endings
import gates
import pytest
import work

from tokengate_mp import OperationsCoordinator, TokenKilled, WorkerLost


@pytest.fixture
def gate():
    """A gate for the tokens of a test."""
    with gates.Gate() as made:
        yield made


def pids(coordinator):
    """The processes of all cores."""
    return [core["pid"] for core in coordinator.get_stats()["cores"]]


async def arrived(gate, count=1):
    """Wait for tokens to come to the gate while the loop goes on."""
    return await asyncio.to_thread(gate.arrivals, count)


async def end_by_kill(token):
    """End it by `kill`."""
    assert token.kill("enough")
    with pytest.raises(TokenKilled, match="enough"):
        await token


async def end_by_cancel(token):
    """End it by `cancel`."""
    assert token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await token


async def end_by_wait_for(token):
    """End it by a timeout of asyncio's."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(token, 0.01)


ENDS = [end_by_kill, end_by_cancel, end_by_wait_for]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    "make", [work.spinning, endings.catches_exceptions], ids=["spinning", "except Exception"]
)
def test_running_python_code_stops(gate, end, threads, make):
    """The function ends, its process lives on, and runs the next token at once."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=threads, grace=20) as c:
            before = pids(c)
            token = make(gate.address)
            await arrived(gate)
            await end(token)
            assert await work.square(3) == 9
            assert pids(c) == before
            assert c.get_stats()["tokens"]["killed"] == 1

    asyncio.run(main())


def test_a_function_may_clean_up(gate):
    """Its `finally` blocks run."""

    async def main():
        with gates.Gate() as cleaned:
            async with OperationsCoordinator(cores=1, grace=20):
                token = endings.cleans_up(gate.address, cleaned.address)
                await arrived(gate)
                await end_by_kill(token)
                (arrival,) = await arrived(cleaned)
                assert arrival.name == "cleaned"

    asyncio.run(main())


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("make", [endings.sleeps, endings.catches_everything])
def test_what_does_not_heed_goes_with_its_process(gate, end, make):
    """After `grace` the process is replaced; what waited behind is run, what ran beside is lost."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=2, grace=0.05) as c:
            (before,) = pids(c)
            beside = work.gated(gate.address)
            await arrived(gate)
            token = make(gate.address)
            await arrived(gate)
            behind = [work.square(n) for n in range(20)]
            await end(token)
            with pytest.raises(WorkerLost) as lost:
                await beside
            assert lost.value.pid == before
            assert await asyncio.gather(*behind) == [n * n for n in range(20)]
            assert pids(c) != [before]

    asyncio.run(main())


def test_a_token_that_waits_in_a_core_never_begins(gate):
    """One that was sent to a core, and is ended before a thread takes it, is not run."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1, grace=20) as c:
            await asyncio.gather(*[work.spin(0) for _ in range(50)])  # known to be short
            first = work.spinning(gate.address, "first")
            await arrived(gate)
            with gates.Gate() as never:
                behind = [work.gated(never.address) for _ in range(3)]
                behind += [work.spin(0) for _ in range(20)]
                await asyncio.sleep(0)
                assert c.get_stats()["cores"][0]["queued"], "they are with the core"
                for token in behind[:3]:
                    token.kill()
                await end_by_kill(first)  # the core hears of this one last
                await asyncio.gather(*behind[3:])
                never._server.setblocking(False)
                with pytest.raises(BlockingIOError):
                    never._server.accept()
            stats = c.get_stats()
            assert stats["tokens"]["killed"] == 4
            assert stats["cores"][0]["queued"] == stats["cores"][0]["executing"] == 0

    asyncio.run(main())


@pytest.mark.parametrize("threads", [1, 4])
def test_only_the_ended_ones_are_hit(threads):
    """Tokens that end by themselves just when they are killed take no other with them."""

    async def main():
        drawn = random.Random(threads)
        async with OperationsCoordinator(cores=2, threads_per_core=threads, grace=20) as c:
            await endings.count_to(1)
            before = pids(c)
            for _ in range(40):
                tokens = [endings.count_to(drawn.randrange(2_000)) for _ in range(60)]
                doomed = set(drawn.sample(range(60), 20))
                for n in sorted(doomed, key=lambda _: drawn.random()):
                    await asyncio.wait([tokens[drawn.randrange(60)]], timeout=0.0002)
                    tokens[n].kill()
                for n, token in enumerate(tokens):
                    try:
                        await token
                    except TokenKilled:
                        assert n in doomed
            assert await asyncio.gather(*map(work.square, range(500))) == [
                n * n for n in range(500)
            ]
            assert pids(c) == before
            assert [core["executing"] + core["queued"] for core in c.get_stats()["cores"]] == [0, 0]

    asyncio.run(main())
