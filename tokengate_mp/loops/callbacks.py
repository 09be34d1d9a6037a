"""Callbacks of tokens: many of them are one to the event loop.

A future hands each of its callbacks to its loop by itself, and asyncio's own loop makes a handle of
it and comes to it by way of several calls: more than half a microsecond each, and `gather` has one
for each token. But tokens end hundreds at a time. So a token has a `CallbackQueue` where other
futures have their loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from time import monotonic_ns
from typing import Any, Final

SPELL_NS: Final = 4_000_000
"""How long callbacks are called before the loop does something else, ns."""

UNTIMED: Final = 16
"""Callbacks between two looks at the clock."""

Callback = Callable[[asyncio.Future[Any]], object]


class CallbackQueue:
    """A queue of futures' callbacks, called in order when the loop runs again, each in its context.

    A future takes the queue for the loop that it belongs to, so the queue has what futures ask of a
    loop. (With a `__getattr__` for the rest, each look at an attribute would take several times as
    long.) All of it happens in the loop's thread.

    Args:
        loop: The loop.

    Attributes:
        loop: The loop.
        get_debug: The loop's method; every future asks it, when it is made.
        call_exception_handler: The loop's method; for an exception that nobody has looked at.
    """

    __slots__ = ("_asked", "_latest", "_waiting", "call_exception_handler", "get_debug", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.get_debug = loop.get_debug
        self.call_exception_handler = loop.call_exception_handler
        self._waiting: deque[tuple[Context | None, Callback, asyncio.Future[Any]]] = deque()
        self._asked = False  # whether the loop is going to call `_call`
        self._latest = 0  # which of its handles that is: those before do nothing

    def call_soon(
        self, callback: Callback, future: asyncio.Future[Any], *, context: Context | None = None
    ) -> None:
        """Put a future's callback into the queue.

        Raises:
            RuntimeError: The loop is closed, and was not asked to call before.
        """
        # First: whatever happens now, it is called when the loop comes to `_call`. (Another thread
        # that adds a callback to a token that has ended does what asyncio forbids, and that one may
        # come late. But all others are called.)
        self._waiting.append((context, callback, future))
        if not self._asked:
            self._ask()

    def _ask(self) -> None:
        """Have the loop call the waiting callbacks."""
        if self.get_debug():  # it names callbacks that are slow, so it has to see each by itself
            while self._waiting:
                context, callback, future = self._waiting.popleft()
                self.loop.call_soon(callback, future, context=context)
            return
        try:
            self._asked = True  # first: another thread's loop may be there at once
            self._latest += 1
            self.loop.call_soon(self._call, self._latest)
        except BaseException:  # closed, or Ctrl-C: the next callback asks again
            self._asked = False
            raise

    def renew(self) -> None:
        """Ask the loop anew: Ctrl-C may have come when the loop was about to call."""
        if self._waiting:
            self._ask()

    def _call(self, number: int) -> None:
        if number != self._latest:
            return
        self._asked = False
        left = len(self._waiting)
        if left > 1:
            # Now: Ctrl-C may come in any of them, or one of them may run the loop (nest_asyncio).
            self._ask()
        # Those that come in meanwhile have to wait: else two tasks that wake each other would keep
        # the loop from everything else.
        deadline = monotonic_ns() + SPELL_NS
        while left > 0 and monotonic_ns() < deadline:
            self._call_next(min(left, UNTIMED))
            left -= UNTIMED

    def _call_next(self, count: int) -> None:
        waiting = self._waiting
        for _ in range(count):
            if not waiting:  # one of them has run the loop, or begun to debug it
                return
            context, callback, future = waiting.popleft()
            try:
                if context is None:
                    callback(future)
                else:
                    context.run(callback, future)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - as a loop does with its callbacks
                self.call_exception_handler(
                    {
                        "message": f"Exception in callback {callback!r}",
                        "exception": error,
                        "future": future,
                    }
                )
