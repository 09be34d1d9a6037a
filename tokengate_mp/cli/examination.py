"""What the doctor looks at once every package is known to be there.

This module imports the engine, which needs them all.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final

from tokengate_mp import OperationsCoordinator
from tokengate_mp.bench import machine
from tokengate_mp.bench.work.workloads import burn
from tokengate_mp.cli.finding import Finding, Verdict
from tokengate_mp.config.cpus import (
    affinity,
    cgroup_cpu_quota,
    python_cpu_count,
    usable_cpus,
)
from tokengate_mp.cores.watch import open_pidfd
from tokengate_mp.wire.channel.segment import PORTABLE_VARIABLE, Segment, has_linux_calls, portable

_PATIENCE: Final = 30.0
_DESCRIPTORS_PER_CORE: Final = 16
_START_LIMIT_MS: Final = 1_000
_WORK_NS: Final = 1_000_000
_SEGMENT_BYTES: Final = 1 << 20
_SHM: Final = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is put there


def _cpus() -> Iterator[Finding]:
    cpus, quota, everything = usable_cpus(), cgroup_cpu_quota(), os.cpu_count() or 1
    given, obeyed = os.environ.get("PYTHON_CPU_COUNT"), python_cpu_count() is not None
    limits = [
        f"{everything} in the machine ({machine.cpu_model()})",
        f"{len(affinity())} by CPU affinity",
        "no cgroup quota" if quota is None else f"{quota:g} by cgroup quota",
        f"PYTHON_CPU_COUNT={given}{'' if obeyed else ' (no count: ignored)'}"
        if given
        else "PYTHON_CPU_COUNT not set",
    ]
    listed = ", ".join(map(str, cpus))
    text = "\n".join([f"{len(cpus)} to use: {listed}", *limits])
    if len(cpus) == 1:
        yield Finding(
            "CPUs",
            text,
            Verdict.NOTE,
            "one core domain leaves the event loop free, but no batch gets faster by it; "
            "widen the affinity mask or the quota if there are more CPUs",
        )
    elif len(cpus) < everything:
        yield Finding("CPUs", text, Verdict.NOTE, "fewer than the machine has: meant so?")
    else:
        yield Finding("CPUs", text)
    load = os.getloadavg()[0]
    if load > len(cpus):
        remedy = "others are using these CPUs: figures measured now will be noisy"
        yield Finding("load", f"{load:.1f} in the last minute", Verdict.NOTE, remedy)


def _shared_memory() -> Iterator[Finding]:
    Segment.allocate(_SEGMENT_BYTES).unmap()
    if not portable():
        yield Finding("shared memory", "by memfd: without a name, and not bound by /dev/shm")
    elif has_linux_calls():
        text = f"by shm_open, because {PORTABLE_VARIABLE} is set"
        remedy = f"unset {PORTABLE_VARIABLE}: it is for tests, and Linux has something better"
        yield Finding("shared memory", text, Verdict.NOTE, remedy)
    elif hasattr(os, "memfd_create"):
        remedy = "allow memfd_create and eventfd in the sandbox: shared memory is faster by them"
        text = "by shm_open, because memfd_create or eventfd is refused"
        yield Finding("shared memory", text, Verdict.NOTE, remedy)
    else:
        yield Finding("shared memory", "by shm_open")
    if not _SHM.is_dir():
        return
    room = os.statvfs(_SHM)
    free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    text = f"{_size(free)} free of {_size(total)}"
    if not portable():
        yield Finding(str(_SHM), f"{text} (not used)")
    elif free < _SEGMENT_BYTES * len(usable_cpus()):
        remedy = "make it larger (docker run --shm-size=1g), or give a smaller ring_bytes"
        yield Finding(str(_SHM), text, Verdict.BROKEN, remedy)
    else:
        yield Finding(str(_SHM), text)


def _doorbell() -> Iterator[Finding]:
    if not portable():
        os.close(os.eventfd(0, os.EFD_NONBLOCK))
    yield Finding("doorbell", "socket pair" if portable() else "eventfd")


def _ends_of_processes() -> Iterator[Finding]:
    pidfd = open_pidfd(os.getpid())
    if pidfd is not None:
        os.close(pidfd)
        yield Finding("ends of processes", "seen by pidfd")
    elif portable():
        yield Finding("ends of processes", "seen by their control sockets")
    else:
        yield Finding(
            "ends of processes",
            "seen by their control sockets: pidfd_open is refused",
            Verdict.NOTE,
            "allow it in the sandbox, or take Linux 5.3 or later; as it is, what a token forks "
            "must not outlive its core process",
        )


def _limits() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _DESCRIPTORS_PER_CORE * len(usable_cpus()) + 64
    text = "without limit" if soft == resource.RLIM_INFINITY else f"{soft:,} a process"
    if soft != resource.RLIM_INFINITY and soft < needed:
        yield Finding(
            "file descriptors",
            text,
            Verdict.BROKEN,
            f"the core domains need about {needed}: ulimit -n {min(4096, hard)}",
        )
    else:
        yield Finding("file descriptors", text)


def _core_process() -> Iterator[Finding]:
    took = _until_all_have_worked(1)
    text = f"first result {took:.0f} ms after start()"
    if took > _START_LIMIT_MS:
        remedy = "look for a slow disk, a busy machine, or a sitecustomize that is slow to import"
        yield Finding("one core process", text, Verdict.NOTE, remedy)
    else:
        yield Finding("one core process", text)


def _all_cores() -> Iterator[Finding]:
    cores = len(usable_cpus())
    took = _until_all_have_worked(cores)
    yield Finding("all core processes", f"{cores} of them: each had worked after {took:.0f} ms")


def _until_all_have_worked(cores: int) -> float:
    """Return the milliseconds from start() until every core process has given a result."""
    begin = time.perf_counter()
    with OperationsCoordinator(cores=cores) as coordinator:
        for rounds in count(1):
            # More each time: one core may take a few milliseconds of work before another has any.
            for token in [coordinator.submit(burn, _WORK_NS) for _ in range(2 * cores * rounds)]:
                token.get(_PATIENCE)
            took = time.perf_counter() - begin
            idle = [c["core"] for c in coordinator.get_stats()["cores"] if not c["completed"]]
            if not idle:
                return took * 1e3
            if took > _PATIENCE:
                raise TimeoutError(f"core {idle[0]} has given no result within {_PATIENCE:g} s")
    raise AssertionError  # a count has no end


def _size(number: int) -> str:
    size = float(number)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


LOOKS: Final[tuple[Callable[[], Iterator[Finding]], ...]] = (
    _cpus,
    _shared_memory,
    _doorbell,
    _ends_of_processes,
    _limits,
    _core_process,
    _all_cores,
)
"""All there is to look at, the cheap ones first."""
