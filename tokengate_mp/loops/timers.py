"""Timers: an action that an event loop does later, within so long or at a time.

The earliest request wins: a timer is moved forward and never put off. On a busy path it is hardly
ever cancelled either, as to let it run for nothing is cheaper.

A request that the loop has lost is made anew. Ctrl-C may come when the loop has taken a handle from
its queue and not come to its action, which then never happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final, Self

from tokengate_mp.loops.notebook import context_of_no_cell

LOST_NS: Final = 1_000_000_000
"""So late is a loop with a timer only if it was held up all that time, or has lost it, ns."""


class Timer:
    """An action that the loop does later, once for any number of requests until then.

    All of it happens in the loop's thread. The action may make the next request. The action's
    context is that in which the timer was made, without the cell of a notebook: the cell that comes
    to make a request has nothing to do with what the action logs.

    Args:
        loop: The event loop.
        action: Called without arguments, in the loop's thread.
    """

    __slots__ = ("_action", "_context", "_due", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], Any]) -> None:
        self._loop = loop
        self._action = action
        self._context = context_of_no_cell()
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0  # monotonic ns; as long as there is a handle

    def run_within(self, seconds: float) -> Self:
        """Do the action so many seconds from now, or earlier if that was requested before."""
        now = monotonic_ns()
        due = now + int(seconds * 1e9)
        if self._handle is not None:
            if now - LOST_NS < self._due <= due:
                return self
            self._handle.cancel()
        self._due = due
        self._handle = self._loop.call_later(seconds, self._run, context=self._context.copy())
        return self

    def run_at(self, due: int) -> Self:
        """Do the action at that monotonic time, ns, or earlier if that was requested before."""
        if self._handle is not None:
            if monotonic_ns() - LOST_NS < self._due <= due:
                return self
            self._handle.cancel()
        self._due = due
        self._handle = self._loop.call_later(
            max(0, due - monotonic_ns()) / 1e9, self._run, context=self._context.copy()
        )
        return self

    def _run(self) -> None:
        self._handle = None
        self._action()

    def cancel(self) -> None:
        """Withdraw the request, if there is any."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
