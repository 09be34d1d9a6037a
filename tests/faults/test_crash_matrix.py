"""Whatever a call does to its process, wherever: its own token ends as it should, and no other."""

from __future__ import annotations

import asyncio
import os
import select
import signal

import bombs
import gates
import pytest
import work
from cores import stop

from tokengate_mp import (
    OperationsCoordinator,
    PayloadError,
    RemoteError,
    TokenTimeout,
    WorkerLost,
)

# With 4 threads another token may run beside the bomb, and be lost with the process.
THREADS = [1, 4]

OUTCOMES = {
    ("decode", "raise"): ValueError,
    ("decode", "sys.exit"): RemoteError,
    ("run", "raise"): ValueError,
    ("run", "sys.exit"): RemoteError,
    ("encode", "raise"): PayloadError,
    ("encode", "sys.exit"): PayloadError,
    **{("write", how): WorkerLost for how in ("raise", "sys.exit")},
    **{
        (where, how): WorkerLost
        for where in ("decode", "run", "encode", "write")
        for how in ("os._exit", "SIGKILL", "SIGSEGV")
    },
    **{(where, "SIGSTOP"): TokenTimeout for where in ("decode", "run", "encode", "write")},
}

BOMBS = {
    "decode": lambda how: bombs.decode(bombs.GoesOffLoaded(how)),
    "run": bombs.run,
    "encode": bombs.encode,
    "write": bombs.write,
}


async def nothing_else_is_harmed(coordinator, others, *, threads, died):
    """What was made before is right but for what ran beside; next waves run on all cores."""
    results = await asyncio.gather(*others, return_exceptions=True)
    lost = [result for result in results if isinstance(result, WorkerLost)]
    assert len(lost) <= (threads - 1 if died else 0)
    assert all(r == n * n for n, r in enumerate(results) if not isinstance(r, WorkerLost))
    assert await asyncio.gather(*map(work.square, range(300))) == [n * n for n in range(300)]
    cores = coordinator.get_stats()["cores"]
    with gates.Gate() as gate:
        held = [work.gated(gate.address) for _ in range(threads * len(cores))]
        arrivals = await asyncio.to_thread(gate.arrivals, len(held))
        gate.open()
        await asyncio.gather(*held)
    cores = coordinator.get_stats()["cores"]
    assert {arrival.pid for arrival in arrivals} == {core["pid"] for core in cores}
    assert sum(core["restarts"] for core in cores) == died


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(("where", "how"), OUTCOMES)
def test_a_call_that_goes_off(where, how, threads):
    """In decoding, running, encoding or writing: by an error, an exit or a signal."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=threads, grace=0.1) as c:
            await asyncio.gather(*map(work.square, range(50)))
            bomb = BOMBS[where](how)
            others = [work.square(n) for n in range(60)]
            with pytest.raises(OUTCOMES[where, how]) as caught:
                await bomb
            assert type(caught.value) is OUTCOMES[where, how]
            died = OUTCOMES[where, how] in (WorkerLost, TokenTimeout)
            await nothing_else_is_harmed(c, others, threads=threads, died=died)

    asyncio.run(main())


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("how", ["os._exit", "SIGKILL", "SIGSEGV"])
def test_a_process_that_dies_idle(how, threads):
    """It is replaced, and no token is touched."""

    async def main():
        with gates.Gate() as gate:
            async with OperationsCoordinator(cores=1, threads_per_core=threads) as c:
                await bombs.when_let(gate.address, how)
                await asyncio.to_thread(gate.arrivals, 1)
                before = c.get_stats()["cores"][0]["pid"]
                gate.open()
                signalled = os.pidfd_open(before)
                await asyncio.to_thread(select.select, [signalled], [], [], gates.PATIENCE)
                os.close(signalled)
                await nothing_else_is_harmed(c, [], threads=threads, died=True)

    asyncio.run(main())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_process_that_dies_starting(how):
    """Tokens wait for the one that comes up after it."""

    async def main():
        async with OperationsCoordinator(cores=1) as c:
            others = [work.square(n) for n in range(60)]
            os.kill(c.get_stats()["cores"][0]["pid"], how)
            assert await asyncio.gather(*others) == [n * n for n in range(60)]

    asyncio.run(main())


def test_a_process_that_stops_starting():
    """It never comes up; its tokens end by their time limit, and `stop` does not wait for it."""

    async def main():
        async with OperationsCoordinator(cores=1) as c:
            stop(c.get_stats()["cores"][0]["pid"])
            with pytest.raises(TokenTimeout):
                await work.square.options(timeout=0.2)(3)

    asyncio.run(main())


@pytest.mark.parametrize("threads", THREADS)
def test_a_process_that_stops_idle(threads):
    """A token sent to it ends by its time limit, and the process is replaced after `grace`."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=threads, grace=0.1) as c:
            await work.square(3)
            pid = c.get_stats()["cores"][0]["pid"]
            stop(pid)
            with pytest.raises(TokenTimeout):
                await work.square.options(timeout=0.2)(3)
            await nothing_else_is_harmed(c, [], threads=threads, died=True)

    asyncio.run(main())
