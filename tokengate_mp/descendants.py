"""Ending a process with the commands that it has started.

They are found from the top down, and each process is stopped before its children are looked for:
what stands still starts nothing more, and reaps nothing, so that no number changes its owner
meanwhile. A process that was given a session of its own is meant to outlive what started it, and is
left alone, as is all that it has started.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

_ROUNDS: Final = 8
"""How often children are looked for anew: a fork that was under way shows a moment later."""


def kill_with_descendants(pid: int) -> None:
    """Kill a child process, and everything it has started in its session.

    Args:
        pid: A child that was not waited for, so that the number is its own. It may have ended.
    """
    if _send(pid, signal.SIGSTOP):
        kill_descendants(pid)
    _send(pid, signal.SIGKILL)


def kill_descendants(pid: int) -> None:
    """Kill everything that a process has started in its session, though not the process itself."""
    try:
        session = os.getsid(pid)
    except OSError:  # it has ended
        return
    killed: set[int] = set()
    for _round in range(_ROUNDS):
        found = [child for child in _frozen(pid, session) if child not in killed]
        if not found:
            return
        killed.update(found)
        for child in found:
            _send(child, signal.SIGKILL)


def _frozen(pid: int, session: int) -> list[int]:
    """Stop all descendants in a session, parents before their children; return them."""
    found: list[int] = []
    parents = [pid]
    for parent in parents:  # (it grows meanwhile)
        for child in _children(parent):
            with suppress(OSError):  # it has just ended
                if os.getsid(child) == session and _send(child, signal.SIGSTOP):
                    found.append(child)
                    parents.append(child)
    return found


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # it has ended, or belongs to another user
        return False
    return True


def _children(pid: int) -> Iterable[int]:
    task = f"/proc/{pid}/task"
    try:
        children: list[int] = []
        for thread in os.listdir(task):  # noqa: PTH208 - names are wanted, and they are numbers
            with open(f"{task}/{thread}/children", "rb") as file:  # noqa: PTH123 - no pathlib in a core
                children += map(int, file.read().split())
    except OSError:  # no /proc, or a kernel that does not list them there
        return _children_of_any_system(pid)
    return children


def _children_of_any_system(pid: int) -> list[int]:
    import psutil  # noqa: PLC0415 - it takes 15 ms, and is seldom needed

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []
