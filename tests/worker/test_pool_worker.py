"""What `multiprocessing` says and does in a core process: that of a worker."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import shared_memory

import pytest
import scripts

from tokengate_mp import OperationsCoordinator, TokenGateExecutor


def _who():
    process, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    return {
        "name": process.name,
        "pid": process.pid,
        "daemon": process.daemon,
        "alive": process.is_alive(),
        "authkey": bytes(process.authkey),
        "parent": (parent.name, parent.pid, parent.is_alive()),
        "os": (os.getpid(), os.getppid()),
        "method": multiprocessing.get_start_method(allow_none=True),
    }


def test_it_is_a_worker_of_this_process():
    """Name, parent and authkey are those that a process of a pool has; it may start others."""
    with TokenGateExecutor(1) as executor:
        who = executor.submit(_who).result(20)
    here = multiprocessing.current_process()
    assert who["name"].startswith("SpawnProcess-")
    assert who["os"] == (who["pid"], os.getpid())
    assert who["parent"] == (here.name, os.getpid(), True)
    assert (who["daemon"], who["alive"]) == (False, True)
    assert who["authkey"] == bytes(here.authkey)
    assert who["method"] == multiprocessing.get_start_method(allow_none=True)


def test_no_two_workers_have_one_name():
    """Numbers are counted with those of other processes that `multiprocessing` starts here."""
    names = []
    for _ in range(2):
        with OperationsCoordinator(cores=1) as coordinator:
            names.append(coordinator.submit(_who).get(20)["name"])
    names.append(multiprocessing.get_context("spawn").Process().name)
    assert len(set(names)) == 3


def _peek(name):
    segment = shared_memory.SharedMemory(name=name)
    value = segment.buf[0]
    segment.close()
    return value


def _create():
    segment = shared_memory.SharedMemory(create=True, size=64)
    segment.buf[0] = 9
    segment.close()
    return segment.name


@pytest.mark.parametrize("when", ["before", "after"])
def test_segments_outlive_a_core(when):
    """Whether made here or there, and before or after the core was started."""
    before = shared_memory.SharedMemory(create=True, size=64) if when == "before" else None
    with TokenGateExecutor(1) as executor:
        executor.submit(abs, 1).result(20)
        segment = before or shared_memory.SharedMemory(create=True, size=64)
        segment.buf[0] = 7
        assert executor.submit(_peek, segment.name).result(20) == 7
        made = executor.submit(_create).result(20)
    assert _peek(segment.name) == 7
    segment.close()
    segment.unlink()
    there = shared_memory.SharedMemory(name=made)
    assert there.buf[0] == 9
    there.close()
    there.unlink()


def test_a_program_that_needs_no_tracker_has_none(tmp_path):
    """The tracker is a process of its own, started when a core process asks for it first."""
    code = """
        from multiprocessing import resource_tracker, shared_memory
        from tokengate_mp import OperationsCoordinator

        def make():
            segment = shared_memory.SharedMemory(create=True, size=64)
            segment.close()
            return segment.name

        with OperationsCoordinator(cores=1) as coordinator:
            coordinator.submit(abs, 1).get()
            print(resource_tracker._resource_tracker._fd)
            name = coordinator.submit(make).get()
            print(resource_tracker._resource_tracker._fd is None)
        shared_memory.SharedMemory(name=name).unlink()
    """
    assert scripts.output(tmp_path / "tracked.py", code) == "None\nFalse\n"
