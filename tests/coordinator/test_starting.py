"""Core processes are started one after the other, so that nobody waits for all of them."""

from __future__ import annotations

import asyncio
import threading

import pytest
import work

from tokengate_mp import CoreStartError, OperationsCoordinator, TokenGateExecutor
from tokengate_mp.coordinator import opening
from tokengate_mp.cores import supervisor
from tokengate_mp.scheduling.policy import restart

CORES = 4


@pytest.fixture
def launched(monkeypatch):
    """The cores whose processes have been started, in order."""
    cores = []
    launch = supervisor.launch

    def noted(core, *arguments):
        cores.append(core)
        return launch(core, *arguments)

    monkeypatch.setattr(supervisor, "launch", noted)
    return cores


def test_start_returns_after_the_first(run, launched):
    """The others follow as the loop goes round, one in each round: it is held for none but one."""

    async def main():
        coordinator = OperationsCoordinator(cores=CORES).start()
        try:
            for core in range(1, CORES + 1):
                assert launched == list(range(1, core + 1))
                await asyncio.sleep(0)
            for _ in range(CORES):
                await asyncio.sleep(0)
            assert launched == list(range(1, CORES + 1))
            assert await work.square(3) == 9
        finally:
            coordinator.stop()

    run(main)


def test_calls_do_not_wait_for_the_loop(run, launched):
    """Calls that are made in one go start the others too: the loop does not run meanwhile."""

    async def main():
        coordinator = OperationsCoordinator(cores=CORES).start()
        try:
            tokens = []
            while len(launched) < CORES:
                tokens.append(work.square(len(tokens)))
            assert await asyncio.gather(*tokens) == [n * n for n in range(len(tokens))]
        finally:
            coordinator.stop()

    run(main)


def test_who_asks_for_all_processes_finds_them(run, launched):
    """The numbers speak of a process for every core, however soon they are asked for."""

    async def main():
        coordinator = OperationsCoordinator(cores=CORES).start()
        try:
            pids = [core["pid"] for core in coordinator.get_stats()["cores"]]
            assert len(set(pids)) == CORES
            assert None not in pids
        finally:
            coordinator.stop()

    run(main)


def test_stop_starts_no_more(run, launched):
    """A coordinator that is stopped at once has started one process."""

    async def main():
        OperationsCoordinator(cores=CORES).start().stop()
        for _ in range(2 * CORES):
            await asyncio.sleep(0)
        assert launched == [1]

    run(main)


def test_a_core_that_cannot_be_started_is_tried_again(run, monkeypatch, caplog):
    """If the first could be started, another's failure is that core's alone, and for a while."""
    launch, failures = supervisor.launch, []

    def refused_once(core, *arguments):
        if core == 2 and not failures:
            failures.append(core)
            raise CoreStartError("core 2 cannot be started: no descriptor is left")
        return launch(core, *arguments)

    monkeypatch.setattr(supervisor, "launch", refused_once)
    monkeypatch.setattr(restart, "START_PAUSE", 0.01)

    async def main():
        async with OperationsCoordinator(cores=2) as coordinator:
            cores = coordinator.get_stats()["cores"]
            assert [core["pid"] is None for core in cores] == [False, True]
            assert await work.square(3) == 9
            while not all(core["alive"] for core in coordinator.get_stats()["cores"]):  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert [core["restarts"] for core in coordinator.get_stats()["cores"]] == [0, 1]

    run(main)
    assert "no descriptor is left" in caplog.text


def test_the_first_that_cannot_be_started_is_everyones(run, monkeypatch):
    """What fails for the first core is said by start()."""

    def refused(core, *arguments):
        raise CoreStartError(f"core {core} cannot be started: no descriptor is left")

    monkeypatch.setattr(supervisor, "launch", refused)

    async def main():
        with pytest.raises(CoreStartError, match="core 1 cannot"):
            OperationsCoordinator(cores=2).start()

    run(main)


@pytest.fixture
def interrupted(monkeypatch):
    """A thread that is started next, with an interrupt of its starter; called once."""
    start = threading.Thread.start

    def interrupt(thread):
        monkeypatch.setattr(threading.Thread, "start", start)
        thread.start()
        raise InterruptedError("by a signal handler")

    monkeypatch.setattr(threading.Thread, "start", interrupt)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("kind", [OperationsCoordinator, TokenGateExecutor])
def test_a_start_that_is_interrupted_leaves_nothing(kind):
    """An interrupt while the thread of the loop is started: the next one starts all the same."""
    with pytest.raises(InterruptedError), kind(1) as user:
        user.submit(abs, -2)
    with kind(1) as user:
        result = user.submit(abs, -2)
        assert (result.get(20) if kind is OperationsCoordinator else result.result(20)) == 2


@pytest.mark.parametrize("kind", [OperationsCoordinator, TokenGateExecutor])
def test_a_start_without_descriptors_leaves_nothing(kind, monkeypatch):
    """An engine that cannot be made: the next one starts all the same."""

    def refused(*_arguments):
        raise OSError("no descriptor is left")

    with monkeypatch.context() as patched:
        patched.setattr(opening, "Supervisor", refused)
        with pytest.raises(OSError, match="no descriptor"), kind(1) as user:
            user.submit(abs, -2)
    with kind(1) as user:
        result = user.submit(abs, -2)
        assert (result.get(20) if kind is OperationsCoordinator else result.result(20)) == 2
