"""All the ways to start and stop a coordinator, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import threading

import psutil
import pytest
import scripts
import work
from gates import Gate

from tokengate_mp import (
    CoordinatorNotRunning,
    CoordinatorRunning,
    OperationsCoordinator,
    TokenKilled,
    TokenState,
)
from tokengate_mp.cores import supervisor

EXPECTED = [n * n for n in range(200)]


def test_async_with(run):
    """`async with` serves the running loop, and has joined when it is left."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            assert isinstance(coordinator, OperationsCoordinator)
            assert await asyncio.gather(*map(work.square, range(200))) == EXPECTED
            left = [work.square(n) for n in range(200)]
        assert [token.result() for token in left] == EXPECTED
        with pytest.raises(CoordinatorNotRunning):
            work.square(1)

    run(main)


def test_async_with_stops_at_once_on_an_exception(run):
    """An exception in the body is not held up by tokens that still run: they end as killed."""

    async def main(gate):
        tokens = []
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the whole body is what is left
            async with OperationsCoordinator(cores=1):
                tokens += [work.gated(gate.address) for _ in range(10)]
                await asyncio.to_thread(gate.arrivals, 4)
                _ = 1 / 0
        assert {token.state for token in tokens} == {TokenState.KILLED}
        assert {type(token.exception()) for token in tokens} == {TokenKilled}

    with Gate() as gate:
        run(main, gate)


def test_async_with_stops_at_once_on_cancellation(run):
    """A cancelled body is left at once too, and the CancelledError goes on."""

    async def body(gate, tokens):
        async with OperationsCoordinator(cores=1):
            tokens.append(work.gated(gate.address))
            await asyncio.gather(*tokens)

    async def main(gate):
        tokens = []
        task = asyncio.create_task(body(gate, tokens))
        await asyncio.to_thread(gate.arrivals)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tokens[0].cancelled()

    with Gate() as gate:
        run(main, gate)


def test_cancelled_while_it_joins(run):
    """A body that is cancelled while `async with` waits for tokens leaves none pending."""

    async def body(gate, tokens):
        async with OperationsCoordinator(cores=1):
            tokens.append(work.gated(gate.address))

    async def main(gate):
        tokens = []
        task = asyncio.create_task(body(gate, tokens))
        await asyncio.to_thread(gate.arrivals)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tokens[0].state is TokenState.KILLED
        assert isinstance(tokens[0].exception(), TokenKilled)

    with Gate() as gate:
        run(main, gate)


def test_start_and_stop_inside_a_coroutine(run):
    """start() and stop() are synchronous: try/finally does inside `async def`."""

    async def main():
        coordinator = OperationsCoordinator(cores=2)
        assert coordinator.start() is coordinator
        try:
            return await asyncio.gather(*map(work.square, range(200)))
        finally:
            coordinator.stop()

    assert run(main) == EXPECTED


def test_with_inside_a_coroutine_stops_without_joining(run):
    """A plain `with` in a running loop cannot wait for tokens of that loop, so it ends them."""

    async def main():
        with OperationsCoordinator(cores=1):
            assert await work.square(3) == 9
            token = work.nap(30)
        assert token.state is TokenState.KILLED

    run(main)


def test_with_in_a_plain_script_joins():
    """Without a loop it runs one in a thread; `get()` waits; leaving waits for all tokens."""
    with OperationsCoordinator(cores=2) as coordinator:
        tokens = [work.square(n) for n in range(200)]
        assert [token.get(20) for token in tokens] == EXPECTED
        assert tokens[0].get() == 0
        left = [work.square(n) for n in range(200)]
    assert [token.get() for token in left] == EXPECTED
    assert coordinator.get_stats()["tokens"]["completed"] == 400


def test_with_in_a_plain_script_stops_at_once_on_an_exception():
    """An exception in the body ends what runs and what waits."""
    with Gate() as gate:
        tokens = []
        with pytest.raises(ZeroDivisionError), OperationsCoordinator(cores=1):  # noqa: PT012
            tokens += [work.gated(gate.address) for _ in range(50)]
            gate.arrivals(4)
            _ = 1 / 0
        for token in tokens:
            with pytest.raises(TokenKilled, match="the coordinator was stopped"):
                token.get()


def test_start_and_stop_in_a_plain_script():
    """try/finally around calls and `get()`."""
    coordinator = OperationsCoordinator(cores=1).start()
    try:
        assert work.square(5).get(20) == 25
    finally:
        coordinator.stop()
        coordinator.stop()
    with pytest.raises(CoordinatorNotRunning):
        work.square(5)


def test_start_returns_before_any_core_is_up(run):
    """start() waits for no core process; tokens made meanwhile wait, and are served."""

    async def main():
        coordinator = OperationsCoordinator(cores=2).start()
        try:
            assert not any(core["alive"] for core in coordinator.get_stats()["cores"])
            token = work.square(6)
            assert token.state is TokenState.WAITING
            return await token
        finally:
            coordinator.stop()

    assert run(main) == 36


def test_stop_before_any_core_is_up(run):
    """A coordinator can be stopped while its processes are still starting."""

    async def main():
        coordinator = OperationsCoordinator(cores=2).start()
        token = work.square(6)
        coordinator.stop()
        with pytest.raises(TokenKilled):
            await token

    run(main)


def test_get_times_out_and_the_token_goes_on():
    """`get(timeout)` raises TimeoutError; the token is not touched."""
    with Gate() as gate, OperationsCoordinator(cores=1):
        token = work.gated(gate.address, "x")
        gate.arrivals()
        with pytest.raises(TimeoutError, match=r"has not ended within 0\.01 s"):
            token.get(0.01)
        with pytest.raises(TimeoutError):
            token.get(0)
        gate.open()
        assert token.get(20) == "x"
        assert token.get(0) == "x"


def test_get_in_the_thread_of_the_loop_is_refused(run):
    """Where it would wait for itself, `get()` says to await instead; a result in hand it gives."""

    async def main():
        async with OperationsCoordinator(cores=1):
            token = work.square(4)
            with pytest.raises(RuntimeError, match="await"):
                token.get(1)
            await token
            assert token.get() == 16

    run(main)


def test_join_waits_for_every_token(run):
    """After `await join()` every token made before has ended; with none it returns at once."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            await coordinator.join()
            tokens = [work.echo(n) for n in range(1000)]
            failing = coordinator.submit(int, "no number")
            killed = work.nap(30)
            cancelled = work.nap(30)
            killed.kill("no")
            cancelled.cancel()
            await asyncio.gather(coordinator.join(), coordinator.join())
            assert all(token.state.ended for token in [*tokens, failing, killed, cancelled])
            assert [token.result() for token in tokens] == list(range(1000))
            assert isinstance(failing.exception(), ValueError)
            assert isinstance(killed.exception(), TokenKilled)
        await coordinator.join()

    run(main)


def test_stop_ends_a_join(run):
    """Whoever joins is let go when the coordinator stops."""

    async def main():
        coordinator = OperationsCoordinator(cores=1).start()
        token = work.nap(30)
        joining = asyncio.create_task(coordinator.join())
        await asyncio.sleep(0)
        coordinator.stop()
        await joining
        assert token.state is TokenState.KILLED

    run(main)


def test_join_from_another_loop():
    """A loop in another thread can join as well."""
    with OperationsCoordinator(cores=1) as coordinator:
        tokens = [work.square(n) for n in range(200)]
        asyncio.run(coordinator.join())
        assert all(token.done() for token in tokens)


def test_a_second_coordinator_is_refused():
    """One runs at a time in a process; the refusal harms neither."""
    with OperationsCoordinator(cores=1) as first:
        second = OperationsCoordinator(cores=1)
        with pytest.raises(CoordinatorRunning, match="running in this process already"):
            second.start()
        with pytest.raises(CoordinatorRunning):
            first.start()
        with pytest.raises(CoordinatorRunning), second:
            pass
        second.stop()  # it runs nothing, so it ends nothing
        assert work.square(3).get(20) == 9
    with second:
        assert work.square(3).get(20) == 9


def test_use_after_stop_is_refused():
    """What was stopped stays stopped, and says so."""
    with OperationsCoordinator(cores=1) as coordinator:
        pass
    with pytest.raises(CoordinatorNotRunning, match="make a new"):
        coordinator.start()
    with pytest.raises(CoordinatorNotRunning):
        coordinator.submit(abs, 1)
    assert coordinator.get_stats()["tokens"]["waiting"] == 0


def test_use_before_start_is_refused():
    """What was not started says so."""
    coordinator = OperationsCoordinator(cores=1)
    with pytest.raises(CoordinatorNotRunning):
        coordinator.submit(abs, 1)
    with pytest.raises(CoordinatorNotRunning):
        coordinator.get_stats()
    coordinator.stop()


def test_stop_within_the_block(run):
    """A block whose coordinator was stopped inside it is left as any other."""
    with OperationsCoordinator(cores=1) as coordinator:
        token = work.nap(30)
        coordinator.stop()
        assert token.state is TokenState.KILLED
    asyncio.run(coordinator.join())

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            token = work.nap(30)
            coordinator.stop()
            assert token.state is TokenState.KILLED

    run(main)


def test_stop_from_another_thread(run):
    """stop() works from any thread while the loop runs."""

    async def main():
        coordinator = OperationsCoordinator(cores=1).start()
        token = work.nap(30)
        await asyncio.to_thread(coordinator.stop)
        with pytest.raises(TokenKilled):
            await token

    run(main)


def test_two_threads_stop_at_once(tmp_path):
    """stop() in the loop's thread, while another thread's stop() waits for it, ends everything."""
    code = """
        import asyncio, threading
        from tokengate_mp import OperationsCoordinator
        import work
        from tokengate_mp import this_process

        async def main():
            coordinator = OperationsCoordinator(cores=1).start()
            await work.square(1)
            token = work.nap(30)
            other = threading.Thread(target=coordinator.stop)
            other.start()
            while this_process.coordinator is not None:
                pass  # the other one has not begun yet; the loop must not run meanwhile
            coordinator.stop()
            print(token.state.name)
            await asyncio.to_thread(other.join)
            print("both returned")

        asyncio.run(main())
    """
    assert scripts.output(tmp_path / "stops.py", code) == "KILLED\nboth returned\n"


def test_an_interrupt_within_stop_leaves_nothing_behind(monkeypatch):
    """Ctrl-C while stop() waits for processes to end is raised, after they have been ended."""

    class Interrupted:
        def register(self, *_):
            pass

        def poll(self, *_):
            raise KeyboardInterrupt

    async def main():
        coordinator = OperationsCoordinator(cores=2).start()
        token = work.square(2)
        await token
        pids = [core["pid"] for core in coordinator.get_stats()["cores"]]
        with monkeypatch.context() as patch:
            patch.setattr(supervisor.select, "poll", Interrupted)
            with pytest.raises(KeyboardInterrupt):
                coordinator.stop()
        assert not [pid for pid in pids if psutil.pid_exists(pid)]

    asyncio.run(main())


def test_stop_by_a_callback_of_its_own_loop():
    """A done callback in the background loop may stop the coordinator."""
    coordinator = OperationsCoordinator(cores=1).start()
    stopped = threading.Event()

    def stop(_token):
        coordinator.stop()
        stopped.set()

    try:
        work.square(1).add_done_callback(stop)
        assert stopped.wait(20)
        with pytest.raises(CoordinatorNotRunning):
            work.square(1)
    finally:
        coordinator.stop()


def test_many_coordinators_one_after_the_other(run):
    """Starting and stopping leaves nothing that the next one would trip over."""

    async def main():
        for turn in range(5):
            async with OperationsCoordinator(cores=1):
                assert await work.square(turn) == turn * turn

    run(main)


def test_the_loop_goes_on_after_stop(run):
    """After stop() with tokens queued and running nothing of ours is left in the user's loop."""

    async def main(gate):
        coordinator = OperationsCoordinator(cores=2, threads_per_core=1).start()
        tokens = [work.gated(gate.address) for _ in range(20)]
        await asyncio.to_thread(gate.arrivals, 2)
        tokens += [work.gated(gate.address) for _ in range(20)]
        coordinator.stop()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert {token.state for token in tokens} == {TokenState.KILLED}
        assert all(isinstance(token.exception(), TokenKilled) for token in tokens)

    with Gate() as gate:
        run(main, gate)


class StopsWhenPickled:
    def __init__(self, coordinator):
        self.coordinator = coordinator

    def __reduce__(self):
        self.coordinator.stop()
        return int, ()


def test_stop_while_a_call_is_made(run):
    """A call that a stop overtakes is refused, or its token ends as killed: it is never pending."""

    async def main():
        coordinator = OperationsCoordinator(cores=1).start()
        await work.square(1)
        with pytest.raises((CoordinatorNotRunning, TokenKilled)):
            await work.echo(StopsWhenPickled(coordinator))

    run(main)


def test_stop_while_a_call_is_made_in_a_plain_script():
    """The same where the loop is a thread's."""
    coordinator = OperationsCoordinator(cores=1).start()
    assert work.square(1).get(20) == 1
    with pytest.raises((CoordinatorNotRunning, TokenKilled)):
        work.echo(StopsWhenPickled(coordinator)).get(20)


def test_stop_while_other_threads_make_tokens():
    """Each call of another thread either gives a token that ends, or is refused."""
    coordinator = OperationsCoordinator(cores=1).start()
    begun = threading.Barrier(4)
    made = []

    def make():
        begun.wait()
        try:
            while True:
                made.append(work.echo(1))
        except CoordinatorNotRunning:
            pass

    threads = [threading.Thread(target=make) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        begun.wait()
        work.echo(1).get(20)
    finally:
        coordinator.stop()
        for thread in threads:
            thread.join()
    for token in made:
        try:
            assert token.get(20) == 1
        except TokenKilled:
            pass
    assert all(token.state.ended for token in made)


def test_loop_closed_without_stop():
    """A loop that is closed under a coordinator does not keep it from stopping."""
    called = []

    async def main():
        coordinator = OperationsCoordinator(cores=1).start()
        await work.square(1)
        token = work.nap(30)
        token.add_done_callback(called.append)
        return coordinator, token

    coordinator, token = asyncio.run(main())
    coordinator.stop()
    assert token.state is TokenState.KILLED
    with pytest.raises(TokenKilled):
        token.result()
    with pytest.raises(CoordinatorNotRunning):
        work.square(1)


@pytest.mark.parametrize("loop", ["asyncio.run", "uvloop.run"])
def test_exit_without_stop(tmp_path, loop):
    """An interpreter that ends with a coordinator running ends its processes, without a word."""
    code = f"""
        import asyncio
        import uvloop
        import work
        from tokengate_mp import OperationsCoordinator

        async def main():
            coordinator = OperationsCoordinator(cores=2).start()
            await asyncio.gather(*map(work.square, range(10)))
            print(*(core["pid"] for core in coordinator.get_stats()["cores"]))
            work.nap(30)

        {loop}(main())
    """
    pids = [int(pid) for pid in scripts.output(tmp_path / "unstopped.py", code).split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if _exists(pid)]


def test_exit_of_a_plain_script_without_stop(tmp_path):
    """The same for a script whose coordinator runs in a thread."""
    code = """
        import work
        from tokengate_mp import OperationsCoordinator

        coordinator = OperationsCoordinator(cores=2).start()
        work.square(1).get()
        print(*(core["pid"] for core in coordinator.get_stats()["cores"]))
        tokens = [work.nap(30) for _ in range(10)]
    """
    pids = [int(pid) for pid in scripts.output(tmp_path / "unstopped.py", code).split()]
    assert len(pids) == 2
    assert not [pid for pid in pids if _exists(pid)]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
