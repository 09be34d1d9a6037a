"""`restart()`: every core process is replaced while it is well, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from tokengate_mp import (
    CoordinatorNotRunning,
    CoreStartError,
    OperationsCoordinator,
    TokenGateExecutor,
)


def surroundings():
    """What a core process finds around itself."""
    level = logging.getLogger("tests.restart").level
    directory = str(Path.cwd())
    return os.getpid(), os.environ.get("RESTARTED"), directory, list(sys.path), level


def pids(pool):
    """The process of each core."""
    return [core["pid"] for core in pool.get_stats()["cores"]]


def wait_for(path):
    """Wait until a file is there, and give the process that has waited."""
    while not os.path.exists(path):  # noqa: PTH110 - nothing to load for it
        time.sleep(0.005)
    return os.getpid()


def fail_if(path):
    """As an initializer: fail once a file is there."""
    if os.path.exists(path):  # noqa: PTH110 - as above
        raise ValueError("not today")


async def test_all_processes_are_replaced_with_what_is_around_now(monkeypatch, tmp_path):
    """The environment, the directory, `sys.path` and log levels are those of the call."""
    async with OperationsCoordinator(cores=2) as coordinator:
        await asyncio.gather(*(coordinator.submit(os.getpid) for _ in range(20)))
        before = pids(coordinator)
        monkeypatch.setenv("RESTARTED", "yes")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path / "modules")
        logging.getLogger("tests.restart").setLevel(33)
        try:
            await coordinator.restart()
        finally:
            logging.getLogger("tests.restart").setLevel(logging.NOTSET)
        assert not set(before) & set(pids(coordinator))
        for seen in await asyncio.gather(*(coordinator.submit(surroundings) for _ in range(8))):
            pid, variable, directory, path, level = seen
            assert pid in pids(coordinator)
            assert (variable, directory, level) == ("yes", str(tmp_path), 33)
            assert path[0] == str(tmp_path / "modules")


async def test_no_token_is_lost(tmp_path):
    """What runs is finished by the old process; what waits is run by either, once."""
    async with OperationsCoordinator(cores=2) as coordinator:
        started = coordinator.submit(wait_for, tmp_path / "go")
        tokens = [coordinator.submit(pow, 2, n) for n in range(2000)]
        await asyncio.gather(*(coordinator.restart() for _ in range(3)))
        await coordinator.restart()
        tokens += [coordinator.submit(pow, 2, n) for n in range(2000, 2500)]
        assert await asyncio.gather(*tokens) == [2**n for n in range(2500)]
        (tmp_path / "go").touch()
        assert await started not in pids(coordinator)


def test_from_another_loop_and_of_a_coordinator_in_a_thread():
    """Restarts that are asked for at one time are one."""
    with OperationsCoordinator(cores=1) as coordinator:
        assert coordinator.submit(abs, -1).get(30) == 1
        before = pids(coordinator)
        threads = [threading.Thread(target=_restart, args=(coordinator,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert pids(coordinator) != before
        assert coordinator.submit(abs, -2).get(30) == 2


def _restart(pool):
    asyncio.run(pool.restart())


def test_an_executor_restarts_too():
    """One that has no processes has none to replace."""
    with TokenGateExecutor(1, max_tasks_per_child=100) as executor:
        _restart(executor)
        before = executor.submit(os.getpid).result(30)
        _restart(executor)
        assert executor.submit(os.getpid).result(30) != before


async def test_where_no_process_can_be_started_the_old_ones_go_on(tmp_path):
    """With an error that says so; a later restart works again."""
    flag = tmp_path / "fail"
    async with OperationsCoordinator(
        cores=1, initializer=fail_if, initargs=(str(flag),)
    ) as coordinator:
        before = await coordinator.submit(os.getpid)
        flag.touch()
        with pytest.raises(CoreStartError, match="core 1 keeps its process"):
            await coordinator.restart()
        assert await coordinator.submit(os.getpid) == before
        flag.unlink()
        await coordinator.restart()
        assert await coordinator.submit(os.getpid) != before


async def test_a_stop_ends_a_restart():
    """With an error; and where nothing runs, nothing is restarted."""
    coordinator = OperationsCoordinator(cores=1)
    with pytest.raises(CoordinatorNotRunning, match="restart"):
        await coordinator.restart()
    async with coordinator:
        await coordinator.submit(abs, 1)
        restarting = asyncio.ensure_future(coordinator.restart())
        await asyncio.sleep(0)
        coordinator.stop()
        with pytest.raises(CoordinatorNotRunning):
            await restarting
    with pytest.raises(CoordinatorNotRunning):
        await coordinator.restart()
