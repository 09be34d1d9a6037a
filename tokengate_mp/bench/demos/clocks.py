"""CPU clocks of this process and of others: how much work was really done in a stretch of time.

A sum of task durations says how long tokens were under way, and counts time spent waiting for a CPU
or for the GIL as if it were work. The CPU clocks do not: they advance only while a thread of the
process runs. So Σ CPU time / time is at most the number of CPUs, whatever the executor.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tokengate_mp import OperationsCoordinator

_NS_PER_S = 1_000_000_000
_PROCESS_WIDE_SCHED_CLOCK = 2
_LINUX = sys.platform == "linux"


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time used so far by all threads of process `pid`, in nanoseconds.

    On Linux the kernel's own scheduler clock of that process is read (`clock_getcpuclockid` makes
    the same number out of a pid), exact to the nanosecond; elsewhere psutil's figure, which is as
    coarse as the platform keeps it (1 to 16 ms).

    Raises:
        ProcessLookupError: there is no such process.
    """
    if pid == os.getpid():
        return time.process_time_ns()
    if _LINUX:
        try:
            return time.clock_gettime_ns((~pid << 3) | _PROCESS_WIDE_SCHED_CLOCK)
        except OSError as error:
            raise ProcessLookupError(f"no process {pid}: its CPU clock cannot be read") from error
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(f"no process {pid}: its CPU clock cannot be read") from error
    return int((times.user + times.system) * _NS_PER_S)


class CpuMeter:
    """CPU time of the calling process and of a set of others, from the meter's making on.

    A process that goes away in between counts for nothing, so a figure can be too low after a
    crash, never too high.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        """Start the count for the calling process and for `pids`."""
        self._begin: dict[int, int] = {}
        for pid in {os.getpid(), *pids}:
            try:
                self._begin[pid] = process_cpu_ns(pid)
            except ProcessLookupError:
                continue

    def used_ns(self) -> int:
        """Return the CPU nanoseconds used by all the processes since the meter was made."""
        used = 0
        for pid, begin in self._begin.items():
            try:
                used += process_cpu_ns(pid) - begin
            except ProcessLookupError:
                continue
        return used


def core_pids(coordinator: OperationsCoordinator) -> list[int]:
    """Return the process ids of a running coordinator's core domains."""
    return [core["pid"] for core in coordinator.get_stats()["cores"] if core["pid"]]
