"""Keeping a core process on its CPU."""

from __future__ import annotations

import os


def pin(cpu: int) -> bool:
    """Run on `cpu` alone from now on; False where the system cannot, or will not, do that.

    (`os.sched_setaffinity` is what psutil calls too; psutil itself would take 15 ms to import.)
    """
    if not hasattr(os, "sched_setaffinity"):
        return False
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:  # the CPU was taken away (cpuset, hotplug): run wherever there is room
        return False
    return True


def yield_to_the_parent() -> None:
    """Stop the wake-ups of this process from interrupting other work on its CPU.

    The parent has no CPU of its own, so it often shares one with a core process. As a process of
    the ordinary kind, that one would interrupt the parent each time the parent rings for it, run
    the few tokens that it finds, and sleep again: parent and core would take turns on one
    CPU, while another may be idle. As a batch process (Linux, sched(7)) it keeps its share of the
    CPU and begins when the parent pauses.
    """
    if hasattr(os, "SCHED_BATCH"):
        try:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        except OSError:  # a sandbox may forbid it; everything works without, only slower
            return
