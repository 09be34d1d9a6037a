"""From one thread to an event loop that another one runs, and back, without waiting for ever.

A loop that is stopped takes what was posted to it with it, so whoever waits for that looks, every
`STOPPED_SECONDS`, whether the loop still runs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from tokengate_mp.errors import CoordinatorNotRunning

T = TypeVar("T")

STOPPED_SECONDS: Final = 0.5
"""How long a thread waits for a loop before it looks whether that still runs."""


def is_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the calling thread runs `loop` now."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """Run `function` in the thread of `loop`, and return its result.

    The calling thread runs `function` itself if it is that thread, or if the loop does not run.

    Raises:
        Exception: What `function` raises.
    """
    if is_here(loop) or not loop.is_running():
        return function()
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        # Once: either the loop comes to it, or the waiting thread, when the loop has stopped first.
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised in the waiting thread
                done.set_exception(error)

    try:
        loop.call_soon_threadsafe(run)
    except RuntimeError:  # it was closed just now
        return function()
    while not concurrent.futures.wait([done], STOPPED_SECONDS).done:
        if not loop.is_running() and done.cancel():
            return function()
    return done.result()


class Bell:
    """A bell that a thread rings and another thread waits for.

    A Ctrl-C may end the wait at any moment, and ringing does not block even then. (A
    `threading.Event` takes its lock in Python code. Ctrl-C may come when the lock has just been
    taken, and nobody gives it back.)
    """

    __slots__ = ("_rung",)

    def __init__(self) -> None:
        self._rung: SimpleQueue[None] = SimpleQueue()

    def ring(self, _cause: object = None) -> None:
        """Wake the waiting thread, or the next thread that waits; each ring counts."""
        self._rung.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for a ring, for so many seconds at most; whether there was any."""
        try:
            self._rung.get(timeout=seconds)
        except Empty:
            return False
        return True


async def heard(news: asyncio.Event, seconds: float) -> bool:
    """Wait for `news`, for so many seconds at most; whether there is any.

    (`asyncio.wait_for` would forget a cancellation that comes together with the news, until
    Python 3.12: the caller could not be cancelled while news keeps coming.)
    """
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return False
    return True


def wait(future: asyncio.Future[Any], timeout: float | None) -> None:
    """Block the calling thread until `future`, of another thread's loop, is done.

    Args:
        future: The future.
        timeout: Seconds to wait; None for as long as it takes.

    Raises:
        RuntimeError: The calling thread runs the loop that the result has to arrive in.
        TimeoutError: The future is not done within `timeout`.
        CoordinatorNotRunning: The future's loop is closed, so it never will be done.
    """
    loop = future.get_loop()
    if is_here(loop):
        raise RuntimeError(
            "token.get() would stop the event loop that its result has to arrive in; "
            "use `await token` here"
        )
    done = Bell()
    ring = done.ring
    try:
        loop.call_soon_threadsafe(future.add_done_callback, ring)
    except RuntimeError as error:
        if future.done():
            return
        raise CoordinatorNotRunning(
            f"{future!r} cannot end: the event loop that it was made in is closed. Stop the "
            "coordinator before its loop ends."
        ) from error
    deadline = None if timeout is None else time.monotonic() + timeout
    while not future.done():
        left = STOPPED_SECONDS if deadline is None else deadline - time.monotonic()
        if left <= 0:
            loop.call_soon_threadsafe(future.remove_done_callback, ring)
            raise TimeoutError(f"{future!r} has not ended within {timeout} s")
        done.wait(min(left, STOPPED_SECONDS))
