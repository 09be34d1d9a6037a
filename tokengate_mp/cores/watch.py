"""The watch over core processes: their bells, what they print, and their ends.

A process's death is seen through a pidfd, and without one by the end of its control socket: no
polling, and no signal handler that a user's code might replace. (The socket ends with the last
process that has it: what a token has forked, and outlives the core process, puts that off.)
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.wire.channel.segment import REFUSALS, portable


def open_pidfd(pid: int) -> int | None:
    """A descriptor that can be read once a child process has ended; None if there are none here.

    Raises:
        OSError: It could not be made, though there are such: no descriptor is left, say.
    """
    if portable() or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # A kernel before Linux 5.3, or a sandbox that does not let it through.
        if error.errno in REFUSALS:
            return None
        raise


class ProcessWatch:
    """Has an event loop say when a process has news, and when a process has ended.

    Args:
        loop: The event loop.
        heard: Called when a process has rung.
        reap: Called when a process has ended, or is about to.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[Incarnation], object],
        reap: Callable[[Incarnation], object],
    ) -> None:
        self._loop = loop
        self._heard = heard
        self._reap = reap
        self._pidfds: dict[Incarnation, int] = {}

    def begin_watch(self, incarnation: Incarnation) -> None:
        """Watch a process.

        Raises:
            OSError: No descriptor is left.
        """
        loop, launched = self._loop, incarnation.launched
        loop.add_reader(incarnation.fileno(), self._heard, incarnation)
        if incarnation.listener is not None:
            loop.add_reader(launched.voice, incarnation.listener.hear)
        pidfd = open_pidfd(launched.process.pid)
        if pidfd is None:
            loop.add_reader(launched.control.fileno(), self._reap, incarnation)
        else:
            self._pidfds[incarnation] = pidfd
            loop.add_reader(pidfd, self._reap, incarnation)

    def end_watch(self, incarnation: Incarnation) -> None:
        """Stop watching a process."""
        loop, launched = self._loop, incarnation.launched
        pidfd = self._pidfds.pop(incarnation, None)
        if not loop.is_closed():
            loop.remove_reader(incarnation.fileno())
            loop.remove_reader(launched.control.fileno())
            loop.remove_reader(launched.voice)
            if pidfd is not None:
                loop.remove_reader(pidfd)
        if pidfd is not None:
            os.close(pidfd)
