"""A core process dies: only what it was running is lost, and the next one goes on."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import pickle
import signal
import sys

import psutil
import pytest
import scripts
import work
from cores import stop
from gates import Gate

from tokengate_mp import CoreStartError, OperationsCoordinator, TokenState, WorkerLost

SIGNALS = [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT]

WIRES = {
    "plain": {},
    "portable": {"TOKENGATE_MP_PORTABLE": "1"},
    "checked": {"TOKENGATE_MP_CHECKED": "1"},
}


@pytest.fixture(params=WIRES)
def wire(request, monkeypatch):
    """Each kind of wire: with what Linux has, without it, and with checksums."""
    for name, value in WIRES[request.param].items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def gate():
    """A gate that lets everybody pass in the end."""
    with Gate() as gate:
        yield gate


@pytest.mark.parametrize("how", [*SIGNALS, 0, 3], ids=str)
def test_the_running_token_is_lost_and_no_other(how):
    """A signal or an exit ends exactly the token that ran, in WorkerLost that says how."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
            before = [work.square(n) for n in range(100)]
            dying = work.die(how)
            after = [work.square(n) for n in range(100)]
            pid = coordinator.get_stats()["cores"][0]["pid"]
            with pytest.raises(WorkerLost) as caught:
                await dying
            assert await asyncio.gather(*before, *after) == [n * n for n in range(100)] * 2
            stats = coordinator.get_stats()
            assert stats["cores"][0]["restarts"] == 1
            assert stats["cores"][0]["pid"] != pid
            assert (stats["tokens"]["failed"], stats["tokens"]["completed"]) == (1, 200)
            assert dying.state is TokenState.FAILED
            return pid, caught.value

    pid, error = asyncio.run(main())
    expected = -how if isinstance(how, signal.Signals) else how
    assert (error.pid, error.exitcode) == (pid, expected)
    assert ("OOM" in str(error)) is (how is signal.SIGKILL)
    assert "die" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfds")
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM], ids=errno.errorcode.get)
def test_a_death_is_seen_where_there_is_no_pidfd(monkeypatch, error):
    """An old kernel has no `pidfd_open`, and a sandbox may refuse it; all else is as ever."""

    def refuse(_pid):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with OperationsCoordinator(cores=1) as coordinator:
        with pytest.raises(WorkerLost) as lost:
            work.die(signal.SIGKILL).get(20)
        assert lost.value.exitcode == -signal.SIGKILL
        assert work.square(3).get(20) == 9
        assert coordinator.get_stats()["cores"][0]["restarts"] == 1


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfds")
def test_any_other_error_of_pidfd_open_is_one_of_start(monkeypatch):
    """With no descriptor left, say, the other way would soon fail as well."""

    def refuse(_pid):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(CoreStartError, match="core 1 cannot be watched"):
        OperationsCoordinator(cores=1).start()


@pytest.mark.parametrize("threads", [1, 4])
def test_exactly_those_that_ran_are_lost(wire, gate, threads):
    """Of many tokens in a core that is killed, as many are lost as threads had begun one."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=threads) as coordinator:
            held = [work.gated(gate.address, str(n)) for n in range(2 * threads)]
            arrivals = await asyncio.to_thread(gate.arrivals, 2 * threads)
            waiting = [work.gated(gate.address, str(n)) for n in range(10)]
            waiting += [work.echo(n) for n in range(500)]
            await asyncio.sleep(0)
            victim = arrivals[0].pid
            doomed = {int(arrival.name) for arrival in arrivals if arrival.pid == victim}
            os.kill(victim, signal.SIGKILL)
            for n in doomed:
                with pytest.raises(WorkerLost) as caught:
                    await held[n]
                assert (caught.value.pid, caught.value.exitcode) == (victim, -signal.SIGKILL)
                assert held[n].token_id in str(caught.value)
            gate.close()
            kept = [token for n, token in enumerate(held) if n not in doomed]
            assert len(kept) + len(doomed) == 2 * threads
            assert len(doomed) <= threads
            await asyncio.gather(*kept)
            results = await asyncio.gather(*waiting)
            assert results == [*map(str, range(10)), *range(500)]
            # The next wave runs on both cores as if nothing had been.
            assert await asyncio.gather(*map(work.square, range(500))) == [
                n * n for n in range(500)
            ]
            counts = coordinator.get_stats()["tokens"]
            assert counts["failed"] == len(doomed)

    asyncio.run(main())


def test_a_replacement_knows_every_function(gate):
    """Functions by name and by value are there again after a death, and so are large ones."""
    base = 10
    table = os.urandom(50_000)

    def nested(x: int) -> int:
        return base + x

    def look_up(at: int) -> int:
        return table[at]

    async def main():
        async with OperationsCoordinator(cores=1, ring_bytes=1 << 12) as coordinator:
            for _ in range(3):
                assert await coordinator.submit(nested, 1) == 11
                assert await coordinator.submit(look_up, 7) == table[7]
                assert await work.square(3) == 9
                with pytest.raises(WorkerLost):
                    await work.die(signal.SIGKILL)
            assert await coordinator.submit(nested, 1) == 11
            assert await coordinator.submit(look_up, 7) == table[7]

    asyncio.run(main())


def test_results_that_were_written_are_delivered(gate):
    """What a core had finished when it died is not lost, though nobody had looked at it yet."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1):
            await work.echo(0)
            tokens = [work.echo(n) for n in range(50)]
            last = work.gated(gate.address)
            await asyncio.sleep(0)
            # The loop does not run from here on until the core is dead.
            (arrival,) = gate.arrivals()
            pidfd = os.pidfd_open(arrival.pid)
            os.kill(arrival.pid, signal.SIGKILL)
            assert scripts.all_gone([pidfd])
            os.close(pidfd)
            assert await asyncio.gather(*tokens) == list(range(50))
            with pytest.raises(WorkerLost):
                await last
            assert all(token.timing.finished for token in tokens)

    asyncio.run(main())


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_death_while_payloads_travel(size):
    """A core that dies with half of a large payload sent or received harms no other token."""

    async def main():
        payload = bytes(size)
        async with OperationsCoordinator(cores=2, ring_bytes=1 << 12) as coordinator:
            for _ in range(2):
                tokens = [work.echo(payload) for _ in range(8)]
                dying = work.die(signal.SIGKILL)
                tokens += [work.echo(payload) for _ in range(8)]
                with pytest.raises(WorkerLost):
                    await dying
                results = await asyncio.gather(*tokens, return_exceptions=True)
                # Whatever else its threads were running at that moment is lost with it.
                lost = [result for result in results if result != payload]
                assert all(isinstance(result, WorkerLost) for result in lost)
                assert len(lost) <= coordinator.settings.threads_per_core - 1
            assert await work.echo(payload) == payload

    asyncio.run(main())


def test_killed_while_idle(wire):
    """An idle core that is killed is replaced; no token notices."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            assert await work.square(2) == 4
            for core in coordinator.get_stats()["cores"]:
                os.kill(core["pid"], signal.SIGKILL)
            assert await asyncio.gather(*map(work.square, range(200))) == [
                n * n for n in range(200)
            ]

    asyncio.run(main())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_while_starting(how):
    """A core that is killed before it is up is started again, and serves what waited."""

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            tokens = [work.square(n) for n in range(200)]
            for core in coordinator.get_stats()["cores"]:
                assert not core["alive"]
                os.kill(core["pid"], how)
            assert await asyncio.gather(*tokens) == [n * n for n in range(200)]

    asyncio.run(main())


def test_a_core_that_stands_still_holds_up_only_what_it_was_sent(gate):
    """With one core stopped the other goes on; continued, it answers for all that it holds."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=1) as coordinator:
            held = [work.gated(gate.address, str(n)) for n in range(2)]
            arrivals = await asyncio.to_thread(gate.arrivals, 2)
            stop(arrivals[0].pid)
            try:
                gate.open(arrivals[1].name)
                assert await held[int(arrivals[1].name)] == arrivals[1].name
                tokens = [work.square(n) for n in range(5000)]
                # More than what one core is sent at once: the other one serves the rest.
                while sum(token.done() for token in tokens) < 500:
                    await asyncio.wait(
                        [token for token in tokens if not token.done()],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                assert not held[int(arrivals[0].name)].done()
            finally:
                os.kill(arrivals[0].pid, signal.SIGCONT)
            gate.open()
            assert await held[int(arrivals[0].name)] == arrivals[0].name
            assert await asyncio.gather(*tokens) == [n * n for n in range(5000)]
            assert sum(core["restarts"] for core in coordinator.get_stats()["cores"]) == 0

    asyncio.run(main())


def test_stop_with_a_core_that_stands_still(gate):
    """stop() ends a process that does not answer, after `grace`."""
    coordinator = OperationsCoordinator(cores=1, grace=0.1).start()
    try:
        token = work.gated(gate.address)
        (arrival,) = gate.arrivals()
        stop(arrival.pid)
    finally:
        coordinator.stop()
    assert token.state is TokenState.KILLED
    assert not psutil.pid_exists(arrival.pid)


def test_many_deaths_in_a_row():
    """Each of many tokens that kill their process is lost alone, and each other one is right."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=1) as coordinator:
            tokens = [
                work.die(signal.SIGKILL) if n % 15 == 7 else work.square(n) for n in range(60)
            ]
            results = await asyncio.gather(*tokens, return_exceptions=True)
            for n, result in enumerate(results):
                if n % 15 == 7:
                    assert isinstance(result, WorkerLost)
                else:
                    assert result == n * n
            assert sum(core["restarts"] for core in coordinator.get_stats()["cores"]) == 4

    asyncio.run(main())


def test_killed_and_cancelled_tokens_of_a_dead_core(gate):
    """Tokens that were ended before their core died stay what they are, whatever ran."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=3) as coordinator:
            tokens = [work.gated(gate.address, str(n)) for n in range(3)]
            behind = [work.gated(gate.address, "x") for _ in range(6)]
            arrivals = await asyncio.to_thread(gate.arrivals, 3)
            tokens[0].kill("first")
            tokens[1].cancel()
            behind[0].kill("second")
            behind[1].cancel()
            os.kill(arrivals[0].pid, signal.SIGKILL)
            with pytest.raises(WorkerLost):
                await tokens[2]
            gate.close()
            assert await asyncio.gather(*behind[2:]) == ["x"] * 4
            ended = [tokens[0], tokens[1], behind[0], behind[1]]
            assert {token.state for token in ended} == {TokenState.KILLED}
            counts = coordinator.get_stats()["tokens"]
            assert (counts["killed"], counts["failed"], counts["completed"]) == (4, 1, 4)

    asyncio.run(main())


def test_a_token_that_closes_every_descriptor():
    """A token that closes what is not its own costs its core, and no token of another."""

    async def main():
        async with OperationsCoordinator(cores=2, threads_per_core=1) as coordinator:
            assert await work.square(1) == 1
            closing = coordinator.submit(os.closerange, 3, 4096)
            others = [work.square(n) for n in range(200)]
            await asyncio.wait([closing])
            assert await asyncio.gather(*others) == [n * n for n in range(200)]
            assert await asyncio.gather(*map(work.square, range(50))) == [n * n for n in range(50)]

    asyncio.run(main())


def test_exit_is_not_death():
    """sys.exit() in a token is its error, not the end of its process."""

    async def main():
        async with OperationsCoordinator(cores=1) as coordinator:
            with pytest.raises(Exception, match="SystemExit: 5"):
                await coordinator.submit(sys.exit, 5)
            assert coordinator.get_stats()["cores"][0]["restarts"] == 0

    asyncio.run(main())


class Calling(logging.Handler):
    """Makes many calls when it is told of a process that has ended."""

    def __init__(self):
        super().__init__()
        self.made = []

    def emit(self, record):
        """Once: at the first."""
        if not self.made and "ended with" in record.getMessage():
            self.made += [work.square(n) for n in range(2000)]


def test_calls_that_are_made_while_a_death_is_noted():
    """Whichever core they go to, the dead one's too: all are run, and none raises."""
    calling, log = Calling(), logging.getLogger("tokengate_mp.cores.supervisor")
    log.addHandler(calling)
    try:
        with OperationsCoordinator(cores=2) as coordinator:
            assert [work.square(n).get(20) for n in range(10)] == [n * n for n in range(10)]
            for core in coordinator.get_stats()["cores"]:
                os.kill(core["pid"], signal.SIGKILL)
            assert work.square(3).get(20) == 9
            assert [token.get(20) for token in calling.made] == [n * n for n in range(2000)]
    finally:
        log.removeHandler(calling)
