"""The event loop that a coordinator lives in: the running loop, or its own loop in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from tokengate_mp.loops.callbacks import CallbackQueue
from tokengate_mp.loops.cross_thread import in_loop

T = TypeVar("T")


class Host:
    """An event loop and its thread.

    Attributes:
        loop: The loop.
        callbacks: The queue of callbacks of tokens that end in the loop.
        own: Whether the loop was made for the coordinator.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, own: bool) -> None:
        self.loop = loop
        self.callbacks = CallbackQueue(loop)
        self.own = own
        self._ident = threading.get_ident()
        self._thread: threading.Thread | None = None

    @classmethod
    def find(cls) -> Host:
        """Take the loop that the calling thread runs, or else a new loop in a background thread."""
        try:
            return cls(asyncio.get_running_loop(), own=False)
        except RuntimeError:
            return cls.in_thread()

    @classmethod
    def in_thread(cls) -> Host:
        """Start a new loop in a background thread."""
        host = cls(asyncio.new_event_loop(), own=True)
        host._start()
        return host

    def _start(self) -> None:
        # A daemon: a script that forgets to stop must be able to end; atexit stops it then.
        self._thread = threading.Thread(target=self._run, name="tokengate-coordinator", daemon=True)
        running = threading.Event()
        self.loop.call_soon(running.set)
        try:
            self._thread.start()
            running.wait()  # until then `call` would take it for one that has stopped
        except BaseException:  # of a signal handler: nobody will know of the thread
            self.loop.call_soon_threadsafe(self.loop.stop)
            raise

    def _run(self) -> None:
        self._ident = threading.get_ident()
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the loop's."""
        return threading.get_ident() == self._ident

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the loop's thread and return its result (see `in_loop`)."""
        return in_loop(self.loop, function)

    def post(self, function: Callable[[], object]) -> None:
        """Run `function` in the loop's thread, soon; never if the loop has ended. In any thread."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:  # it is closed
            return

    def end_loop(self) -> None:
        """End a loop that was started here."""
        if not self.own or self._thread is None:
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_here:
            self._thread.join()

    def wait_for_end(self) -> None:
        """Wait until a loop that was started here has ended; not in its own thread."""
        if self._thread is not None and not self.is_here:
            self._thread.join()
