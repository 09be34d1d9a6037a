"""Locks, values, queues and pipes of multiprocessing, given to core processes by `initargs`."""

from __future__ import annotations

import pytest
import scripts

SHARED = """
import multiprocessing
import os
import socket
import sys
from tokengate_mp import OperationsCoordinator, TokenGateExecutor

def take(given):
    global shared
    shared = given

def add(number):
    with shared["value"].get_lock():
        shared["value"].value += number

def fill(number):
    shared["array"][number % 3] = shared["raw"][number % 3] = 1

def hold(number):
    for name in ("lock", "rlock", "semaphore", "condition"):
        with shared[name]:
            pass
    with shared["condition"]:
        shared["condition"].notify_all()

def hand_over(number):
    shared["event"].set()
    shared["queue"].put(number)
    shared["simple"].put(number)
    shared["end"].send(number)
    shared["socket"].sendall(b"x")

def descriptors():
    found = map(int, os.listdir("/proc/self/fd"))
    links = [f"/proc/self/fd/{fd}" for fd in found]
    return sorted(os.readlink(link) for link in links if os.path.lexists(link))

def main(method):
    multiprocessing.set_start_method(method)
    make = multiprocessing.get_context()
    near, far = make.Pipe()
    ours, theirs = socket.socketpair()
    given = {
        "value": make.Value("i", 0), "array": make.Array("i", 3), "raw": make.RawArray("i", 3),
        "lock": make.Lock(), "rlock": make.RLock(), "semaphore": make.BoundedSemaphore(2),
        "condition": make.Condition(), "event": make.Event(), "queue": make.Queue(),
        "simple": make.SimpleQueue(), "end": far, "socket": theirs,
    }
    before = None
    for _ in range(2):
        with TokenGateExecutor(
            1, initializer=take, initargs=(given,), max_tasks_per_child=25
        ) as executor:  # so a call of the second process is the last
            for use in (add, fill, hold, hand_over):
                list(executor.map(use, range(10), chunksize=1))
            for receive in (given["queue"].get, given["simple"].get, near.recv):
                print(receive, sorted(receive() for _ in range(10)) == [*range(10)])
        print("socket", ours.recv(100) == b"x" * 10)
        print("event", given["event"].is_set())
        del executor
        before, last = descriptors(), before
    print("closed", before == last)
    print("value", given["value"].value == 2 * 45)
    print("arrays", given["array"][:] == given["raw"][:] == [1, 1, 1])
    for name in ("lock", "rlock", "semaphore", "condition"):
        print(name, given[name].acquire(timeout=5))
        given[name].release()
    with OperationsCoordinator(cores=1, initializer=take, initargs=(given,)) as coordinator:
        print("coordinator", coordinator.submit(hold, 1).get() is None)
    for each in (near, far, ours, theirs):
        each.close()

if __name__ == "__main__":
    main(sys.argv[1])
"""

REFUSED = """
import gc
import os
import multiprocessing
import time
import warnings
from tokengate_mp import PayloadError, TokenGateExecutor

warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, from 3.12 on

def refusal(given):
    try:
        TokenGateExecutor(1, initializer=print, initargs=(given,))
    except PayloadError as error:
        return str(error)

context = multiprocessing.get_context("fork")
held, held_too, used = context.Lock(), context.RLock(), context.Queue()
held.acquire(); held_too.acquire(); used.put(1)
for each in (held, held_too, used):
    print("get_context('spawn')" in refusal(each))
used.get(); used.close(); used.join_thread()
child = context.Process(target=time.sleep, args=(60,))
child.start()
print("forked" in refusal(context.Lock()))
child.kill(); child.join()
held.release()
print(refusal(held))
name = f"/dev/shm/sem.{held._semlock.name.lstrip('/')}"
print(os.path.exists(name))
del held
gc.collect()
print(os.path.exists(name))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_multiprocessing_shares_is_given_by_initargs_however_it_was_made(tmp_path, method):
    """Each context's objects are shared by all processes, replaced processes too; nothing stays."""
    ended = scripts.run([*scripts.command(tmp_path / "shared.py", SHARED), method])
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr  # (core processes may complain of sockets left open)
    lines = ended.stdout.splitlines()
    assert len(lines) == 2 * 5 + 3 + 4 + 1
    assert [line for line in lines if not line.endswith(" True")] == []


def test_a_lock_in_use_that_only_forks_can_have_is_refused(tmp_path):
    """A lock that is held, or that a fork may have, is refused, with what to do about it.

    A lock that may go has a name from then on, until its end.
    """
    lines = scripts.output(tmp_path / "refused.py", REFUSED).splitlines()
    assert lines == ["True"] * 4 + ["None", "True", "False"]
