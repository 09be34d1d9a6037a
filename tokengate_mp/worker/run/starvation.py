"""Telling a thread that blocks from one that computes and gets no CPU.

Both use hardly any CPU time. But Linux counts how long a thread was ready to run while others had
the CPU: the second field of its schedstat, ns (kernel documentation, sched-stats). And a thread
that only waits for the GIL waits while another thread of its process computes.
"""

from __future__ import annotations

import os
from threading import get_native_id
from time import process_time_ns, thread_time_ns
from typing import Final

_files: Final[dict[int, int]] = {}
"""Descriptors of the files of threads that live as long as the process, by native id; or -1."""


def starved_ns(thread: int) -> int:
    """Return how long a thread was ready to run so far while others had the CPU, ns.

    0 where the system does not count it. (Some microseconds, most of them for the system call: not
    to be asked on a hot path.)

    Args:
        thread: Its native id. It must live as long as the process: its file is kept open.
    """
    file = _files.get(thread)
    if file is None:
        file = _files[thread] = _open(thread)
    return _read(file)


def _starved_here_ns() -> int:
    """Return `starved_ns` of the calling thread, which may be a user's own and end at any time.

    Its file is not kept then: it would stay open, and the next thread with that id would find it.
    """
    thread = get_native_id()
    kept = _files.get(thread)
    if kept is not None:
        return _read(kept)
    file = _open(thread)
    try:
        return _read(file)
    finally:
        if file >= 0:
            os.close(file)


def _open(thread: int) -> int:
    try:
        return os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _read(file: int) -> int:
    if file < 0:
        return 0
    try:
        return int(os.pread(file, 64, 0).split()[1])
    except (OSError, IndexError, ValueError):  # a sandbox may have the file without the figures
        return 0


class CloserLook:
    """A closer look at a run of the calling thread, from the making of this object on."""

    __slots__ = ("_cpu", "_starved", "_whole")

    def __init__(self) -> None:
        self._starved = _starved_here_ns()
        self._whole = process_time_ns()
        self._cpu = thread_time_ns()

    def blocked(self, at_work: int) -> bool | None:
        """Whether the thread blocked for most of the run; None if that cannot be said.

        Args:
            at_work: How long the run took, ns, without its waits for tokens.
        """
        cpu = thread_time_ns() - self._cpu
        others = process_time_ns() - self._whole - cpu
        idle = at_work - cpu - (_starved_here_ns() - self._starved)
        if idle * 2 <= at_work:
            return False
        # At least so long, and not for the GIL, which the other threads had.
        return True if (idle - others) * 2 > at_work else None
