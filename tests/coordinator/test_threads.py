"""Tokens made in several threads, with and without event loops of their own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import work
from gates import Gate

from tokengate_mp import OperationsCoordinator, TokenKilled, TokenState, task_token_guard
from tokengate_mp.ports import CoreFacts


@pytest.fixture
def threads():
    """Four threads."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def _squares_by_get(numbers) -> list[int]:
    return [token.get(20) for token in [work.square(n) for n in numbers]]


def _squares_by_loop(numbers) -> list[int]:
    async def gathered():
        return await asyncio.gather(*map(work.square, numbers))

    return asyncio.run(gathered())


@pytest.mark.parametrize("how", [_squares_by_get, _squares_by_loop])
def test_threads_beside_a_running_loop(run, threads, how):
    """Threads make tokens while the coordinator serves its loop; each gets its own results."""

    async def main():
        loop = asyncio.get_running_loop()
        async with OperationsCoordinator(cores=2):
            jobs = [
                loop.run_in_executor(threads, how, range(start, start + 300))
                for start in range(0, 2400, 300)
            ]
            own = await asyncio.gather(*map(work.square, range(300)))
            assert own == [n * n for n in range(300)]
            for start, job in zip(range(0, 2400, 300), jobs, strict=True):
                assert await job == [n * n for n in range(start, start + 300)]

    run(main)


@pytest.mark.parametrize("how", [_squares_by_get, _squares_by_loop])
def test_threads_of_a_plain_script(threads, how):
    """The same where the coordinator's loop runs in a thread of its own."""
    with OperationsCoordinator(cores=2):
        jobs = [threads.submit(how, range(start, start + 300)) for start in range(0, 2400, 300)]
        for start, job in zip(range(0, 2400, 300), jobs, strict=True):
            assert job.result(20) == [n * n for n in range(start, start + 300)]


def test_uvloop_in_a_thread(threads):
    """A visitor's loop may be of another kind than the coordinator's."""
    uvloop = pytest.importorskip("uvloop")

    def job():
        async def gathered():
            return await asyncio.gather(*map(work.square, range(300)))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(gathered())

    with OperationsCoordinator(cores=1):
        assert threads.submit(job).result(20) == [n * n for n in range(300)]


def test_a_main_thread_with_a_loop_of_its_own():
    """`with` in plain code, and asyncio.run() inside it."""
    with OperationsCoordinator(cores=1):
        assert _squares_by_loop(range(100)) == [n * n for n in range(100)]
        assert _squares_by_loop(range(100)) == [n * n for n in range(100)]


def test_kill_from_another_thread(run):
    """kill() ends a token of another thread's loop at once."""

    async def main(gate):
        async with OperationsCoordinator(cores=1):
            token = work.gated(gate.address)
            await asyncio.to_thread(gate.arrivals)
            assert await asyncio.to_thread(token.kill, "enough") is True
            with pytest.raises(TokenKilled, match="enough"):
                await token

    with Gate() as gate:
        run(main, gate)


def test_a_visitor_kills_and_cancels_its_tokens():
    """In a loop of another thread tokens can be ended as at home."""

    async def visit(gate):
        killed, cancelled, kept = (work.gated(gate.address, name) for name in ("a", "b", "c"))
        await asyncio.to_thread(gate.arrivals, 3)
        assert killed.kill("enough")
        assert cancelled.cancel()
        with pytest.raises(TokenKilled):
            await killed
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work.nap(30), 0.01)
        gate.open()
        assert await kept == "c"
        return killed, cancelled, kept

    with Gate() as gate, OperationsCoordinator(cores=1) as coordinator:
        tokens = asyncio.run(visit(gate))
        states = [TokenState.KILLED, TokenState.KILLED, TokenState.COMPLETED]
        asyncio.run(coordinator.join())
        assert [token.state for token in tokens] == states


def test_cancel_from_another_thread():
    """cancel() in a thread without a loop ends the token, and harms no other, whenever it comes."""
    with OperationsCoordinator(cores=1) as coordinator:
        assert work.echo(0).get(20) == 0
        for _ in range(20):
            tokens = [work.echo(n) for n in range(300)]
            cancelled = [token.cancel() for token in tokens[::3]]
            for n, token in enumerate(tokens):
                if n % 3 == 0 and cancelled[n // 3]:
                    with pytest.raises(asyncio.CancelledError):
                        token.get(20)
                    assert token.state is TokenState.KILLED
                else:
                    assert token.get(20) == n
        counts = coordinator.get_stats()["tokens"]
        assert sum(counts.values()) == 1 + 20 * 300


def test_kill_from_many_threads_while_tokens_finish(threads):
    """However kills of other threads meet results, each token ends once and in what it says."""
    with OperationsCoordinator(cores=2) as coordinator:
        tokens = [work.echo(n) for n in range(2000)]
        kills = [
            threads.submit(lambda part: [token.kill("x") for token in part], tokens[part::8])
            for part in range(4)
        ]
        killed = {part: job.result(20) for part, job in enumerate(kills)}
        for n, token in enumerate(tokens):
            part, at = n % 8, n // 8
            if part in killed and killed[part][at]:
                with pytest.raises(TokenKilled):
                    token.get(20)
            else:
                assert token.get(20) == n
        assert sum(coordinator.get_stats()["tokens"].values()) == 2000


def test_get_from_many_threads(threads):
    """Any number of threads may wait for one token."""
    with Gate() as gate, OperationsCoordinator(cores=1):
        token = work.gated(gate.address, "it")
        waiting = [threads.submit(token.get, 20) for _ in range(4)]
        gate.arrivals()
        gate.open()
        assert [job.result(20) for job in waiting] == ["it"] * 4


def test_a_visitors_loop_that_is_gone():
    """Results for a loop that was closed meanwhile are dropped; everybody else gets theirs."""
    with Gate() as gate, OperationsCoordinator(cores=1) as coordinator:

        async def leave():
            return work.gated(gate.address)

        left = asyncio.run(leave())
        gate.arrivals()
        gate.open()
        assert work.square(4).get(20) == 16
        asyncio.run(coordinator.join())
        assert left.state is TokenState.COMPLETED


class ClosedAtTheLastMoment(asyncio.SelectorEventLoop):
    """A loop whose thread closes it just when another one has looked whether it is open."""

    at_once = False

    def is_closed(self):
        """Close it, but say what was true before."""
        before = super().is_closed()
        if self.at_once and not before:
            self.close()
        return before


def test_a_visitors_loop_that_closes_meanwhile():
    """Whatever the moment, nobody else notices."""
    with Gate() as gate, OperationsCoordinator(cores=1) as coordinator:
        loop = ClosedAtTheLastMoment()

        async def leave():
            return work.gated(gate.address)

        left = loop.run_until_complete(leave())
        gate.arrivals()
        loop.at_once = True
        gate.open()
        assert work.square(4).get(20) == 16
        asyncio.run(coordinator.join())
        assert left.state is TokenState.COMPLETED
        loop.at_once = False
        loop.close()


def test_a_function_that_becomes_known_while_a_process_learns_all():
    """Another thread enrols it: the process learns those before, and that one with the news."""
    learned = []
    with OperationsCoordinator(cores=1) as coordinator:
        for base in (1, 2, 3):
            assert coordinator.submit(partial(pow, base), 2).get(20) == base**2
            work.square(base).get(20)

        class Learning:
            core = 1

            def facts(self):
                return CoreFacts(ready=True, running=(), waiting=True, pid=None, dropped=0)

            def define(self, index, definition):
                learned.append(index)

                @task_token_guard(f"nested {index}")
                def nested() -> int:
                    return index

                nested()

        host, engine = coordinator._run.require_running("")
        host.call(lambda: engine._events.launched(Learning()))
        asyncio.run(coordinator.join())
    assert learned == sorted(set(learned))
    assert learned


def test_one_function_first_called_by_many_threads_at_once():
    """A function is made known once, though several threads are the first to call it."""
    begun = threading.Barrier(8)
    base = 100

    @task_token_guard("nested")
    def nested(x: int) -> int:
        return base + x

    def first_call(n: int) -> int:
        begun.wait()
        return nested(n).get(20)

    with OperationsCoordinator(cores=1), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(first_call, range(8))) == list(range(100, 108))


def test_a_closed_loop_is_not_waited_for(run):
    """get() of a token whose loop is closed gives what there is, or says that nothing will come."""

    async def main():
        coordinator = OperationsCoordinator(cores=1).start()
        token, done = work.nap(30), work.square(2)
        await done
        return coordinator, token, done

    coordinator, token, done = run(main)
    try:
        assert done.get() == 4
        with pytest.raises(RuntimeError, match="closed"):
            token.get()
    finally:
        coordinator.stop()
    with pytest.raises(TokenKilled):
        token.get()
