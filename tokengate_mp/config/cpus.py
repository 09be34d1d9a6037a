"""Which CPUs this process may really use."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable
from pathlib import Path

from tokengate_mp.config.cgroups import CGROUP, OWN_CGROUP, groups


def affinity() -> list[int]:
    """CPU numbers that the process may run on; all CPUs where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _find_current_cpu() -> Callable[[], int] | None:
    try:
        function: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return None
    return function


current_cpu = _find_current_cpu()
"""The CPU that this thread runs on at the moment (glibc, sched_getcpu(3)); None if unknown."""


def cgroup_cpu_quota(root: Path = CGROUP, own: Path = OWN_CGROUP) -> float | None:
    """CPUs' worth of time that the control groups of the process allow; None for no limit.

    The limit of a group holds for all groups within it, so the lowest one on the way up counts.
    (Linux, `Documentation/admin-guide/cgroup-v2.rst`, cpu.max; and cgroup v1's cpu.cfs_quota_us.)

    Args:
        root: Where the control groups are mounted.
        own: The file that says which groups this process is in.
    """
    found = groups(root, own, "cpu")
    quotas = [quota for group in found for quota in (_v2(group), _v1(group)) if quota]
    return min(quotas, default=None)


def python_cpu_count() -> int | None:
    """`PYTHON_CPU_COUNT`, which Python 3.13 obeys itself; None if unset or no number above 0."""
    text = os.environ.get("PYTHON_CPU_COUNT", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def usable_cpus() -> list[int]:
    """The CPU of each core domain by default; at least a single CPU.

    As many as affinity and control groups allow, or as `PYTHON_CPU_COUNT` says; a quota of a
    part of a CPU counts as one.
    """
    cpus = affinity()
    asked = python_cpu_count()
    if asked is not None:
        return [cpus[i % len(cpus)] for i in range(asked)]
    quota = cgroup_cpu_quota()
    if quota is not None:
        cpus = cpus[: max(1, math.ceil(quota))]
    return cpus


def _v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):  # the top group has no such file
        return None


def _v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
