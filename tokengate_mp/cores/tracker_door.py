"""The door at which core processes ask for the resource tracker of this process.

`multiprocessing` has one tracker for a program and all its workers, which unlinks what they leave.
It is a process of its own, which most programs never need; so core processes do not inherit it, but
ask for it when something in them is to be tracked. It is started then, if it was not.
"""

from __future__ import annotations

import asyncio
import os
import socket


class TrackerDoor:
    """A socket that all core processes of a coordinator inherit an end of.

    Args:
        loop: The event loop that answers.

    Attributes:
        fd: The end that core processes inherit.

    Raises:
        OSError: No descriptor is left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self.fd = self._far.fileno()
        loop.add_reader(self._near, self._answer)

    def close(self) -> None:
        """Answer nobody any more."""
        if not self._loop.is_closed():
            self._loop.remove_reader(self._near)
        self.disown()

    def disown(self) -> None:
        """Close both ends, in a fork: the parent goes on to answer."""
        self._near.close()
        self._far.close()

    def _answer(self) -> None:
        try:
            _, fds, _, _ = socket.recv_fds(self._near, 1, 1)
        except BlockingIOError:
            return
        # Loaded for who asks only: it loads `multiprocessing.spawn`, which keeps `sys.executable`
        # of that moment as the interpreter that `set_executable` has not named yet.
        from multiprocessing import resource_tracker  # noqa: PLC0415 - ms, seldom needed

        for fd in fds:
            os.set_inheritable(fd, False)
            with socket.socket(fileno=fd) as asking:
                try:
                    tracker = resource_tracker.getfd()
                    if tracker is not None:
                        socket.send_fds(asking, [b"t"], [tracker])
                except OSError:  # it has ended meanwhile; or no tracker can be started
                    continue
