"""What is done later: after a while at the latest (`Alarm`), or at a time (`Appointment`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final

LOST_SECONDS: Final = 1.0
"""So late a loop is with its timers only if something has held it up all that time."""


class Alarm:
    """One thing that is to be done some time from now, at the latest.

    It is never put off, and hardly ever cancelled: on a busy path, leaving it to go off for nothing
    is cheaper. One that should have gone off long ago may never do so, as Ctrl-C came when it was
    about to, and is set anew.

    Args:
        loop: The event loop.
        seconds: How long after `set` it goes off.
        action: What is done then.
    """

    __slots__ = ("_action", "_loop", "_seconds", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, action: Callable[[], Any]
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._action = action
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Go off in so many seconds, unless it is set already."""
        if self._timer is not None:
            if self._loop.time() - self._timer.when() < LOST_SECONDS:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(self._seconds, self._go_off)

    def _go_off(self) -> None:
        self._timer = None
        self._action()

    def cancel(self) -> None:
        """Do not go off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Appointment:
    """One thing that is to be done at a time, or at an earlier one that is named later.

    One that was lost is made anew, as with an `Alarm`.

    Args:
        loop: The event loop.
        action: What is done then.
    """

    __slots__ = ("_action", "_at", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], Any]) -> None:
        self._loop = loop
        self._action = action
        self._at = 0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: int) -> None:
        """Keep it at that monotonic time, ns, unless it is earlier already."""
        if self._timer is not None:
            if monotonic_ns() - LOST_SECONDS * 1e9 < self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        seconds = max(0, at - monotonic_ns()) / 1e9
        self._timer = self._loop.call_later(seconds, self._keep)

    def _keep(self) -> None:
        self._timer = None
        self._action()

    def cancel(self) -> None:
        """Do not keep it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
