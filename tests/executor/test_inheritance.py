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

def take(*given):
    global shared
    shared = given[0]

def add(number):
    with shared.get_lock():
        shared.value += number

def fill(number):
    shared[number % 3] = 1

def hold(number):
    with shared:
        return number

def notify(number):
    with shared:
        shared.notify_all()

def raise_flag(number):
    shared.set()

def put(number):
    shared.put(number)

def send(number):
    shared.send(number)

def send_byte(number):
    shared.sendall(b"x")

def drained(queue):
    return sorted(queue.get() for _ in range(10))

def free(lock):
    return lock.acquire(timeout=5)

WAYS = {
    "value": (lambda context: context.Value("i", 0), add, lambda value: value.value == 45),
    "array": (lambda context: context.Array("i", 3), fill, lambda array: array[:] == [1, 1, 1]),
    "raw": (lambda context: context.RawArray("i", 3), fill, lambda array: array[:] == [1, 1, 1]),
    "lock": (lambda context: context.Lock(), hold, free),
    "rlock": (lambda context: context.RLock(), hold, free),
    "semaphore": (lambda context: context.BoundedSemaphore(2), hold, free),
    "condition": (lambda context: context.Condition(), notify, free),
    "event": (lambda context: context.Event(), raise_flag, lambda event: event.is_set()),
    "queue": (lambda context: context.Queue(), put, lambda q: drained(q) == [*range(10)]),
    "simple": (lambda context: context.SimpleQueue(), put, lambda q: drained(q) == [*range(10)]),
}

def descriptors():
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in map(int, os.listdir("/proc/self/fd"))
                  if os.path.lexists(f"/proc/self/fd/{fd}"))

def replaced():
    context = multiprocessing.get_context()
    shared = context.Value("i", 0)
    with TokenGateExecutor(1, initializer=take, initargs=(shared,), max_tasks_per_child=3) as own:
        list(own.map(add, range(10), chunksize=1))  # so the fourth process of a core has it too
    print("replaced", shared.value == 45)

def closed():
    before = descriptors()
    near, far = multiprocessing.Pipe()
    with TokenGateExecutor(2, initializer=take, initargs=(far,)) as own:
        list(own.map(send, range(10), chunksize=1))
    print("pipe", sorted(near.recv() for _ in range(10)) == [*range(10)])
    ours, theirs = socket.socketpair()
    with TokenGateExecutor(2, initializer=take, initargs=(theirs,)) as own:
        list(own.map(send_byte, range(10), chunksize=1))
    print("socket", ours.recv(100) == b"x" * 10)
    for each in (near, far, ours, theirs):
        each.close()
    del own
    print("closed", descriptors() == before)

def main(method):
    multiprocessing.set_start_method(method)
    context = multiprocessing.get_context()
    for name, (make, use, check) in WAYS.items():
        if method == "fork" or name in {"value", "queue", "event"}:
            shared = make(context)
            with TokenGateExecutor(1, initializer=take, initargs=(shared,)) as executor:
                list(executor.map(use, range(10), chunksize=1))
                print(name, check(shared))
    with OperationsCoordinator(cores=1, initializer=take, initargs=(context.Lock(),)) as c:
        print("coordinator", c.submit(hold, 1).get() == 1)
    del shared, executor, c
    replaced()
    closed()

if __name__ == "__main__":
    main(sys.argv[1])
"""

REFUSED = """
import gc
import os
import multiprocessing
import time
from tokengate_mp import PayloadError, TokenGateExecutor

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
    assert len(lines) >= 3 + 1 + 1 + 3
    assert [line for line in lines if not line.endswith(" True")] == []


def test_a_lock_in_use_that_only_forks_can_have_is_refused(tmp_path):
    """A lock that is held, or that a fork may have, is refused, with what to do about it.

    A lock that may go has a name from then on, until its end.
    """
    lines = scripts.output(tmp_path / "refused.py", REFUSED).splitlines()
    assert lines == ["True"] * 4 + ["None", "True", "False"]
