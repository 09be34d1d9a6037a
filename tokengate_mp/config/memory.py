"""How much memory this process and its core processes may really use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tokengate_mp.config.cgroups import CGROUP, OWN_CGROUP, groups

_LIMITS: Final = ("memory.max", "memory.limit_in_bytes")
"""The files of a group with its limit: of version 2 of control groups, and of version 1."""


def cgroup_memory_limit(root: Path = CGROUP, own: Path = OWN_CGROUP) -> int | None:
    """Bytes that the control groups of the process allow; None for no limit.

    The limit of a group holds for all groups within it, so the lowest one on the way up counts.

    Args:
        root: Where the control groups are mounted.
        own: The file that says which groups this process is in.
    """
    limits = [
        limit
        for group in groups(root, own, "memory")
        for name in _LIMITS
        if (limit := _limit(group / name))
    ]
    return min(limits, default=None)


def memory() -> int:
    """Memory of the machine, or as much of it as the control groups allow, bytes."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = cgroup_memory_limit()
    # (Without a limit, version 1 says a number beyond any memory.)
    return whole if limit is None else min(whole, limit)


def _limit(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such file, or "max"
        return None
