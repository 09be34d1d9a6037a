"""Waiting until every token has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Quiescence:
    """Waiters for the end of all tokens, in the engine's loop.

    Args:
        loop: The loop.
        pending: How many tokens have not ended.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, pending: Callable[[], int]) -> None:
        self._loop = loop
        self._pending = pending
        self._waiters: list[asyncio.Future[None]] = []

    async def join(self) -> None:
        """Wait until every token has ended."""
        if self._pending():
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def look(self) -> None:
        """Tokens may have ended: look whether that was all."""
        if self._waiters and not self._pending():
            self.end()

    def end(self) -> None:
        """Let all waiters go on."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
