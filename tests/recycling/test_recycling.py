"""Core processes that have run their time are replaced, and nobody notices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter

import gates
import psutil
import pytest
import work
import worn

from tokengate_mp import (
    CoreStartError,
    OperationsCoordinator,
    TokenGateExecutor,
    WorkerLost,
    task_token_guard,
)
from tokengate_mp.config.settings import LEAST_RSS
from tokengate_mp.cores import supervisor
from tokengate_mp.cores.launch import launch
from tokengate_mp.engine import recycling
from tokengate_mp.scheduling.policy import restart


@pytest.fixture
def gate():
    """A gate that lets everybody pass in the end."""
    with gates.Gate() as made:
        yield made


@pytest.fixture
def takeovers(monkeypatch):
    """Whether, at each time that a process was relieved, the next one was up and it was alive."""
    seen = []
    relieve = supervisor.Supervisor.relieve

    def watched(self, core, seat):
        old, successor = self.links[core], self.successors[core]
        running = old.launched.process.poll() is None
        seen.append((successor.ready, bool(successor._outbox), running))
        relieve(self, core, seat)

    monkeypatch.setattr(supervisor.Supervisor, "relieve", watched)
    return seen


def recycled(coordinator):
    """How many processes have been recycled."""
    return sum(core["recycled"] for core in coordinator.get_stats()["cores"])


async def arrive(gate, *names):
    """Wait for tokens to come to the gate: their processes, by name."""
    came = await asyncio.to_thread(gate.arrivals, len(names))
    assert sorted(arrival.name for arrival in came) == sorted(names)
    return {arrival.name: arrival.pid for arrival in came}


async def gone(pid):
    """Wait until a process has ended and was reaped."""
    while psutil.pid_exists(pid):  # noqa: ASYNC110 - nobody tells a bystander
        await asyncio.sleep(0.001)


async def relieved(coordinator, times=1):
    """Wait until that has happened to a process so often."""
    while recycled(coordinator) < times:  # noqa: ASYNC110 - it is told to nobody
        await asyncio.sleep(0.001)


async def worn_out(coordinator, core):
    """Run tokens until a core has another process."""
    before = coordinator.get_stats()["cores"][core - 1]["recycled"]
    while coordinator.get_stats()["cores"][core - 1]["recycled"] == before:
        await asyncio.gather(*(work.nap.options(weight="heavy")(0.001) for _ in range(8)))


@pytest.mark.parametrize("threads", [1, 4])
def test_nothing_is_lost_over_many_recyclings(threads, takeovers):
    """Each token has its own result, none is lost, and each successor was up when it took over."""

    async def main():
        async with OperationsCoordinator(
            cores=2, threads_per_core=threads, max_tokens_per_core=50
        ) as coordinator:
            made = 0
            while recycled(coordinator) < 8:
                tokens = [work.square.options(weight="heavy")(n) for n in range(300)]
                tokens += [work.nap(0.001) for _ in range(8)]
                made += len(tokens)
                results = await asyncio.gather(*tokens)
                assert results == [n * n for n in range(300)] + [0.001] * 8
            stats = coordinator.get_stats()
            assert stats["tokens"]["completed"] == made
            assert sum(core["completed"] for core in stats["cores"]) == made
            assert sum(core["restarts"] for core in stats["cores"]) == 0
            assert sum(core["queued"] + core["executing"] for core in stats["cores"]) == 0

    asyncio.run(main())
    assert len(takeovers) >= 8
    assert set(takeovers) == {(True, False, True)}


@pytest.mark.parametrize("threads", [1, 4])
def test_the_core_goes_on_while_the_old_process_finishes(gate, threads):
    """However long that takes; the old process ends with its last token, and not before."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=threads, max_tokens_per_core=1
        ) as coordinator:
            first = await worn.whereabouts()
            long = worn.whereabouts("long", gate.address)
            (old,) = (await arrive(gate, "long")).values()
            assert old == first
            await relieved(coordinator)
            new = await asyncio.wait_for(worn.whereabouts(), 20)
            assert new != old
            (core,) = coordinator.get_stats()["cores"]
            assert (core["executing"], core["queued"], core["restarts"]) == (1, 0, 0)
            assert psutil.pid_exists(old)
            gate.open()
            assert await long == old
            await gone(old)

    asyncio.run(main())


def test_a_relieved_process_that_dies(gate):
    """What it was still running is lost, and nothing else: its core has another process."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=2, max_tokens_per_core=1
        ) as coordinator:
            await worn.whereabouts()
            long = [worn.whereabouts(str(n), gate.address) for n in range(2)]
            old = await arrive(gate, "0", "1")
            await relieved(coordinator)
            beside = worn.whereabouts("beside", gate.address)
            new = await arrive(gate, "beside")
            assert new["beside"] not in old.values()
            os.kill(old["0"], signal.SIGKILL)
            for token in long:
                with pytest.raises(WorkerLost) as caught:
                    await token
                assert caught.value.pid == old["0"]
            gate.open()
            assert await beside == new["beside"]
            assert coordinator.get_stats()["cores"][0]["restarts"] == 0

    asyncio.run(main())


def test_a_process_that_dies_beside_a_relieved_one(gate):
    """What the relieved one is running is not touched."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=1, max_tokens_per_core=1
        ) as coordinator:
            await worn.whereabouts()
            long = worn.whereabouts("long", gate.address)
            old = await arrive(gate, "long")
            await relieved(coordinator)
            beside = worn.whereabouts("beside", gate.address)
            new = await arrive(gate, "beside")
            os.kill(new["beside"], signal.SIGKILL)
            with pytest.raises(WorkerLost):
                await beside
            assert await worn.whereabouts() not in {old["long"], new["beside"]}
            gate.open()
            assert await long == old["long"]

    asyncio.run(main())


@pytest.mark.parametrize("how", ["kill", "cancel"])
def test_ending_a_token_in_a_relieved_process(gate, how):
    """It is interrupted there, and the process goes as soon as it has ended."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=1, max_tokens_per_core=1
        ) as coordinator:
            await worn.whereabouts()
            long = work.spinning(gate.address, "long")
            old = await arrive(gate, "long")
            await relieved(coordinator)
            getattr(long, how)()
            await gone(old["long"])
            assert await worn.whereabouts() != old["long"]
            assert coordinator.get_stats()["cores"][0]["restarts"] == 0

    asyncio.run(main())


def test_tokens_made_inside_a_token_of_a_relieved_process(gate):
    """They are run, here or there, and what waits for them in the old process gets the results."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=1, max_tokens_per_core=1
        ) as coordinator:
            await worn.whereabouts()
            parent = worn.late_child(gate.address)
            old = await arrive(gate, "parent")
            await relieved(coordinator)
            gate.open()
            here, _anywhere = await asyncio.wait_for(parent, 20)
            assert here == old["parent"]
            await gone(here)

    asyncio.run(main())


def test_a_token_that_a_relieved_process_waits_for_runs_in_the_next(gate):
    """What the new process answers for reaches the old one, though they are of one core."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=1, max_tokens_per_core=1
        ) as coordinator:
            await worn.whereabouts()
            parent = worn.polled_child(gate.address)
            old = await arrive(gate, "parent")
            await relieved(coordinator)
            new = await arrive(gate, "polled")
            assert new["polled"] != old["parent"]
            gate.open("parent")
            gate.open("polled")
            assert await asyncio.wait_for(parent, 20) == new["polled"]

    asyncio.run(main())


def test_a_chain_goes_on_in_its_process(gate):
    """Its tokens, also those made after the takeover, run where the lead does."""

    async def main():
        async with OperationsCoordinator(
            cores=2, threads_per_core=6, max_tokens_per_core=1
        ) as coordinator:
            token = worn.lead(gate.address, 4)
            pids = await arrive(gate, "lead", "0")
            await worn_out(coordinator, token.core)
            gate.open("lead")
            tokens = await token
            pids |= await arrive(gate, "1", "2", "3")
            assert len(set(pids.values())) == 1
            assert {each.seed for each in tokens} == {token.seed}
            assert {each.core for each in tokens} == {token.core}
            gate.open()
            assert await asyncio.gather(*tokens) == ["0", "1", "2", "3"]
            assert coordinator.get_stats()["conductor"]["domains"] == 0

    asyncio.run(main())


def test_pinned_keys_stay_on_their_core(gate):
    """While a token of a key is in flight, others go to that core, whichever process it has."""

    async def main():
        async with OperationsCoordinator(
            cores=2, threads_per_core=4, max_tokens_per_core=1
        ) as coordinator:
            tokens = [worn.anchored(key, gate.address) for key in (1, 2)]
            await arrive(gate, "", "")
            for token in tokens[:2]:
                await worn_out(coordinator, token.core)
            tokens += [worn.anchored(key, gate.address) for key in (1, 2)]
            await arrive(gate, "", "")
            assert [token.core for token in tokens[:2]] == [token.core for token in tokens[2:]]
            assert coordinator.get_stats()["sticky"]["pins"] == 2
            gate.open()
            pids = await asyncio.gather(*tokens)
            assert set(pids[:2]).isdisjoint(pids[2:])
            assert coordinator.get_stats()["sticky"]["pins"] == 0

    asyncio.run(main())


def test_functions_that_are_made_meanwhile():
    """The next process knows every function, those that are new while it starts among them."""

    async def main():
        async with OperationsCoordinator(cores=1, max_tokens_per_core=1) as coordinator:
            made = 0
            while recycled(coordinator) < 3:
                made += 1
                assert await coordinator.submit(lambda x, n=made: x + n, 1) == made + 1

    asyncio.run(main())


def test_a_process_that_grows_is_recycled(monkeypatch):
    """One above max_rss is, and one that stays below it is not."""
    monkeypatch.setattr(recycling, "WEIGH_SECONDS", 0.02)
    limit = 150_000_000

    async def main():
        async with OperationsCoordinator(cores=1, max_rss=limit) as coordinator:
            small = await worn.hoard(1000)
            for _ in range(20):
                await work.nap(0.005)
            assert await worn.hoard(1000) == small
            assert recycled(coordinator) == 0
            large = await worn.hoard(limit)
            assert large == small
            await relieved(coordinator)
            assert await worn.hoard(1000) != large
            await gone(large)
            assert coordinator.get_stats()["cores"][0]["restarts"] == 0

    asyncio.run(main())


def test_a_limit_below_what_an_empty_process_takes(monkeypatch):
    """Work goes on, as no process is recycled that has not run a token."""
    monkeypatch.setattr(recycling, "WEIGH_SECONDS", 0.02)

    async def main():
        async with OperationsCoordinator(cores=1, max_rss=LEAST_RSS) as coordinator:
            while recycled(coordinator) < 2:
                assert await asyncio.gather(*map(work.square, range(50))) == [
                    n * n for n in range(50)
                ]

    asyncio.run(main())


@pytest.fixture
def no_more_processes(monkeypatch):
    """From a call of it on, no core process can be started."""
    monkeypatch.setattr(restart, "START_PAUSE", 0.01)
    refusing = []

    def refuse(core, *arguments):
        if refusing:
            refusing.append(core)
            raise CoreStartError("there is no room")
        return launch(core, *arguments)

    monkeypatch.setattr(supervisor, "launch", refuse)
    return refusing


def test_a_process_that_cannot_be_replaced_goes_on(no_more_processes):
    """Where a successor cannot be started, the core keeps what it has."""

    async def main():
        async with OperationsCoordinator(cores=1, max_tokens_per_core=10) as coordinator:
            first = await worn.whereabouts()
            no_more_processes.append(0)
            while len(no_more_processes) <= restart.START_ATTEMPTS:
                assert await worn.whereabouts() == first
            assert await asyncio.gather(*(worn.whereabouts() for _ in range(100))) == [first] * 100
            (core,) = coordinator.get_stats()["cores"]
            assert (core["recycled"], core["restarts"], core["alive"]) == (0, 0, True)

    asyncio.run(main())


def test_the_process_dies_while_its_successor_starts():
    """The successor takes its place: one process was lost, and no further one is started."""

    async def main():
        async with OperationsCoordinator(
            cores=1, threads_per_core=1, max_tokens_per_core=1
        ) as coordinator:
            await worn.whereabouts()
            starting = coordinator._run.engine._backend.successors
            while not starting:  # noqa: ASYNC110 - it is told to nobody
                await asyncio.sleep(0)
            (successor,) = starting.values()
            os.kill(coordinator.get_stats()["cores"][0]["pid"], signal.SIGKILL)
            while not coordinator.get_stats()["cores"][0]["restarts"]:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            assert await worn.whereabouts() == successor.launched.process.pid
            (core,) = coordinator.get_stats()["cores"]
            assert core["restarts"] == 1

    asyncio.run(main())


# ---- an exact limit: max_tasks_per_child of the executor


@pytest.mark.parametrize(("workers", "limit"), [(1, 1), (2, 3), (2, 50)])
def test_no_process_runs_more_than_max_tasks_per_child(workers, limit):
    """However the calls come: all at once, which is when they are sent ahead."""
    calls = 6 * limit
    with TokenGateExecutor(workers, max_tasks_per_child=limit) as executor:
        futures = [executor.submit(os.getpid) for _ in range(calls)]
        ran = Counter(future.result(30) for future in futures)
        stats = executor.get_stats()
    assert max(ran.values()) <= limit
    assert len(ran) >= 6
    assert sum(core["restarts"] for core in stats["cores"]) == 0


def test_a_worker_is_used_up_before_it_is_replaced():
    """Calls one after the other run in one process until it has run as many as it may."""
    with TokenGateExecutor(1, max_tasks_per_child=3) as executor:
        pids = [executor.submit(os.getpid).result(30) for _ in range(9)]
    assert pids == [pids[0]] * 3 + [pids[3]] * 3 + [pids[6]] * 3
    assert len(set(pids)) == 3


def test_max_tasks_per_child_with_threads_that_wait(gate):
    """Calls that overlap in one process count as they are sent."""
    wait_at = task_token_guard()(gates.wait_at)
    with TokenGateExecutor(1, max_tasks_per_child=3, threads_per_core=4) as executor:
        futures = [executor.submit(wait_at, gate.address, str(n)) for n in range(6)]
        ran = Counter(arrival.pid for arrival in gate.arrivals(6))
        assert set(ran.values()) == {3}
        gate.open()
        assert [future.result(20) for future in futures] == [str(n) for n in range(6)]


def test_no_next_worker_can_be_started(no_more_processes):
    """Calls that no process is left for raise CoreStartError; those before have their results."""
    with TokenGateExecutor(1, max_tasks_per_child=2) as executor:
        first = executor.submit(abs, -1)
        assert first.result(20) == 1
        no_more_processes.append(0)
        futures = [executor.submit(abs, -n) for n in range(5)]
        errors = [future.exception(20) for future in futures]
    assert any(type(error) is CoreStartError for error in errors)
    assert {type(error) for error in errors} <= {CoreStartError, type(None)}


def test_a_map_goes_over_many_workers():
    """Its batches are calls like others."""
    with TokenGateExecutor(2, max_tasks_per_child=2) as executor:
        assert list(executor.map(abs, range(-40, 0), chunksize=4)) == list(range(40, 0, -1))


def test_a_coordinator_stops_while_a_process_and_its_successor_live():
    """Both are ended, and what either said is heard."""
    with OperationsCoordinator(cores=1, max_tokens_per_core=15) as coordinator:
        supervisor_here = coordinator._run.engine._backend
        while recycled(coordinator) < 2 or not supervisor_here.successors:
            work.nap(0.001).get(20)
