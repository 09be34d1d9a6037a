"""A soak seen from outside: memory, descriptors, processes, threads, segments, and the log."""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import psutil

_SETTLE: Final = 5.0
"""Seconds that what was used may take to be gone, after everything was stopped."""

_SHM: Final = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is put there

_SEGMENT: Final = "psm_"
"""What the names of multiprocessing's segments begin with; other programs have others there."""


@dataclass(slots=True)
class Samples:
    """Samples of the parent process, over the whole of a soak.

    Attributes:
        rss: Its resident memory, bytes.
        fds: How many descriptors it has open, whenever every core was up.
    """

    rss: list[int] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)

    def take(self, *, settled: bool) -> None:
        """Look once more; `settled`: every core is up, so that all descriptors are there."""
        process = psutil.Process()
        self.rss.append(process.memory_info().rss)
        if settled:
            self.fds.append(process.num_fds())


def thirds(values: list[int]) -> tuple[int, int]:
    """The medians of the first third and of the last; 0 where there are fewer than three values."""
    third = len(values) // 3
    if not third:
        return 0, 0
    return int(statistics.median(values[:third])), int(statistics.median(values[-third:]))


class Holdings:
    """Threads, descriptors and the like that must be the same before and after a soak."""

    def __init__(self) -> None:
        self._processes = set(psutil.Process().children(recursive=True))
        self._threads = set(threading.enumerate())
        self._segments = _segments()
        self._fds = psutil.Process().num_fds()

    def left(self) -> list[str]:
        """Everything left over, in words, after a little time to go away."""
        deadline = time.monotonic() + _SETTLE
        while (left := self._look()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def _look(self) -> list[str]:
        processes = set(psutil.Process().children(recursive=True)) - self._processes
        threads = set(threading.enumerate()) - self._threads
        left = [f"process {process.pid}" for process in processes]
        left += [f"thread {thread.name!r}" for thread in threads]
        left += [f"segment {name}" for name in sorted(_segments() - self._segments)]
        more = psutil.Process().num_fds() - self._fds
        if more > 0:
            left.append(f"{more} descriptors")
        return left


def _segments() -> set[str]:
    if not _SHM.is_dir():
        return set()
    own: set[str] = set()
    for entry in os.scandir(_SHM):
        try:
            mine = entry.stat(follow_symlinks=False).st_uid == os.getuid()
            if mine and entry.name.startswith(_SEGMENT):
                own.add(entry.path)
        except FileNotFoundError:
            pass  # gone between the listing and the look
    return own


class Complaints(logging.Handler):
    """Complaints of the engine and of the event loop during a soak.

    That a process has ended is no complaint: here they are killed.

    Attributes:
        heard: What was said.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._loggers = [logging.getLogger(name) for name in ("tokengate_mp", "asyncio")]

    def __enter__(self) -> Self:
        for logger in self._loggers:
            logger.addHandler(self)
        return self

    def __exit__(self, *_error: object) -> None:
        for logger in self._loggers:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a message."""
        if record.levelno > logging.WARNING or not record.name.endswith(".supervisor"):
            self.heard.append(f"{record.name}: {record.getMessage()}")

    def of_loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Note a complaint of the event loop (its exception handler)."""
        self.heard.append(f"the event loop: {context.get('message')}: {context.get('exception')!r}")
