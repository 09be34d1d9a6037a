"""`as_completed`: tokens in the order in which they end.

A callback on each of many tokens would have the event loop run as many callbacks, each on its own.
So what goes through tokens observes all that end (see `tokens.observers`), a portion of outcomes at
a time, and picks those that it waits for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.loops.cross_thread import STOPPED_SECONDS, Bell, heard, is_here
from tokengate_mp.tokens.observers import add_observer, remove_observer
from tokengate_mp.tokens.token import Token

R = TypeVar("R")


def as_completed(tokens: Iterable[Token[R]], *, timeout: float | None = None) -> Completed[R]:
    """Give tokens in the order of their ends, whatever the ends are.

        async for token in as_completed(tokens): ...    # in an event loop
        for token in as_completed(tokens): ...          # without one

    Args:
        tokens: The tokens; each is given once.
        timeout: Seconds from now in which all have to end.

    Raises:
        TypeError: An argument is no token.
    """
    return Completed(tokens, timeout)


class Completed(Generic[R]):
    """The tokens of `as_completed`, to be gone through once, with a loop or without.

    Raises `TimeoutError` when the time is over, and the tokens go on.
    """

    def __init__(self, tokens: Iterable[Token[R]], timeout: float | None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._waiting: dict[int, Token[R]] = {}
        for token in tokens:
            if not isinstance(token, Token):
                raise TypeError(f"as_completed() takes tokens, not {type(token).__name__}")
            self._waiting[token.number] = token
        self._ended: deque[Token[R]] = deque()
        self._bell: Callable[[], object] | None = None

    def __iter__(self) -> Iterator[Token[R]]:
        loops = {token.get_loop() for token in self._waiting.values()}
        if any(map(is_here, loops)):
            raise RuntimeError(
                "`for` would stop the event loop that the tokens have to end in; "
                "use `async for` here"
            )
        return self._synchronously(Bell())

    def _synchronously(self, news: Bell) -> Iterator[Token[R]]:
        self._open(news.ring)
        try:
            while True:
                yield from self._take()
                if not self._waiting:
                    return
                if not news.wait(self._patience()):
                    self._look()
        finally:
            self._close()

    async def __aiter__(self) -> AsyncIterator[Token[R]]:
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def ring() -> None:
            try:
                # Behind what tells tokens of this loop, made in this thread, of their end.
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:  # it is closed: nobody is left who waits
                return

        self._open(ring)
        try:
            while True:
                news.clear()
                for token in self._take():
                    yield token
                if not self._waiting:
                    return
                if not await heard(news, self._patience()):
                    self._look()
        finally:
            self._close()

    # ---- the observer

    def tokens_ended(self, tokens: Iterable[Any], /) -> None:
        """Pick the tokens that are waited for, and wake the waiting thread or task.

        In any thread: see `tokens.observers.EndObserver`.
        """
        waiting = self._waiting
        found = [token for token in tokens if token.number in waiting]
        if found:
            self._ended.extend(found)
            bell = self._bell
            if bell is not None:
                bell()

    def _open(self, bell: Callable[[], object]) -> None:
        self._bell = bell
        add_observer(self)
        # Those that ended before it observed any.
        self._ended.extend(token for token in self._waiting.values() if token.done())

    def _close(self) -> None:
        self._bell = None
        remove_observer(self)

    def _take(self) -> Iterator[Token[R]]:
        """Give tokens that have ended, each once."""
        waiting, again = self._waiting, []
        while self._ended:
            token = self._ended.popleft()
            if not token.done():  # the loop that it was made in has not come to it yet
                again.append(token)
            elif waiting.pop(token.number, None) is not None:
                yield token
        self._ended.extend(again)

    def _patience(self) -> float:
        """Seconds to wait for news.

        Raises:
            TimeoutError: The time is over.
        """
        if self._deadline is None:
            return STOPPED_SECONDS
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{len(self._waiting)} tokens have not ended in the time they had")
        return min(left, STOPPED_SECONDS)

    def _look(self) -> None:
        """Look for ends without news: whoever holds a future can end it."""
        for token in self._waiting.values():
            if token.done():
                self._ended.append(token)
            elif token.get_loop().is_closed():
                raise CoordinatorNotRunning(
                    f"{token!r} cannot end: the event loop that it was made in is closed. Stop the "
                    "coordinator before its loop ends."
                )
