"""An event loop and a clock that go on only when a test says so.

Callbacks run in the order in which they were asked for, and timers when the test lets time pass. No
real time passes meanwhile, and no thread runs: so each run of a test is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import sys
import time
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from typing import Any

MOST_CALLBACKS = 100_000
"""A loop that has not come to rest after so many callbacks never does."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """A loop driven by a test: `run_ready` and `pass_time`.

    Attributes:
        now: The time, monotonic ns.
        reported: Contexts of exceptions that callbacks raised.
    """

    def __init__(self) -> None:
        self.now = 1_000_000_000_000
        self.reported: list[dict[str, Any]] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._sequence = 0
        self._closed = False

    # ---- driven by the test

    def run_ready(self) -> None:
        """Run callbacks until none is left; no time passes."""
        for _ in range(MOST_CALLBACKS):
            if not self._ready:
                return
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()  # as event loops do
        raise AssertionError("the loop does not come to rest")

    def pass_time(self, seconds: float) -> None:
        """Let time pass: each timer runs at its time, with all callbacks that follow."""
        until = self.now + round(seconds * 1e9)
        self.run_ready()
        while self._timers and self._timers[0][0] <= until:
            due, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self.now = max(self.now, due)
                self._ready.append(handle)
                self.run_ready()
        self.now = until

    def timer_count(self) -> int:
        """How many timers wait for their time."""
        return sum(not handle.cancelled() for *_, handle in self._timers)

    # ---- for the engine

    def time(self) -> float:
        """The time, monotonic seconds."""
        return self.now / 1e9

    def call_soon(  # type: ignore[override]  # callbacks of any kind
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback with the next `run_ready`."""
        self._refuse_if_closed()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # as above

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback when so many seconds have passed."""
        # Rounded up: a timer that is due at a time in ns must not come before that.
        return self._call_at(self.now + -int(-delay * 1e9 // 1), callback, args, context)

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback at a time, monotonic seconds."""
        return self._call_at(round(when * 1e9), callback, args, context)

    def _call_at(
        self,
        due: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> asyncio.TimerHandle:
        self._refuse_if_closed()
        handle = asyncio.TimerHandle(due / 1e9, callback, args, self, context)
        self._sequence += 1
        heapq.heappush(self._timers, (due, self._sequence, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Take note of nothing: cancelled timers are skipped when they are due."""

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # tests need no more than this
        self, coroutine: Coroutine[Any, Any, Any]
    ) -> asyncio.Task[Any]:
        """Make a task of a coroutine."""
        return asyncio.Task(coroutine, loop=self)

    def get_debug(self) -> bool:
        """Whether the loop is in debug mode: never."""
        return False

    def is_running(self) -> bool:
        """Whether the loop runs: as long as it is not closed, a test may drive it."""
        return not self._closed

    def is_closed(self) -> bool:
        """Whether the loop is closed."""
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised, for the test to look at.

        That nobody has looked at the error of a token is reported whenever that is collected, and
        is nothing that a callback did.
        """
        if not context["message"].endswith("exception was never retrieved"):
            self.reported.append(context)

    def close(self) -> None:
        """Take no more callbacks."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")


@contextlib.contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """Run the code within in a virtual loop, by whose clock the whole package goes."""
    loop = VirtualLoop()  # type: ignore[abstract]  # descriptors and processes are left out
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("tokengate_mp.") and hasattr(module, "monotonic_ns")
    ]
    try:
        for module in modules:
            vars(module)["monotonic_ns"] = lambda: loop.now
        _set_running_loop(loop)
        yield loop
    finally:
        _set_running_loop(None)
        for module in modules:
            vars(module)["monotonic_ns"] = time.monotonic_ns
        loop.close()
