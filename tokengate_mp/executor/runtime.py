"""What an executor runs on: a engine of its own, in a loop of its own, in a thread.

The executor refers to the runtime and the runtime not to the executor: so one that is forgotten
without `shutdown` is noticed, and its runtime ends with its last call.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import weakref
from collections import deque
from typing import Any, Final

import msgspec

from tokengate_mp.bulk.feed import Feed
from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.cores.initializer_file import InitializerFile
from tokengate_mp.engine.engine import Engine
from tokengate_mp.engine.intake import Intake
from tokengate_mp.errors import TokenKilled
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.loops.host import Host
from tokengate_mp.loops.timers import Timer
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.tokens.token import Token

_UNSENT: Final = (TokenState.CREATED, TokenState.WAITING)

EXPECTING_SECONDS: Final = 0.0005
"""How long after taking in calls more are expected."""

_runtimes: set[ExecutorRuntime] = set()


class ExecutorRuntime:
    """Core processes, and the thread that feeds them. It is running from the start.

    Args:
        settings: As for a coordinator.
        initializer: What each core process runs first (see `worker.run.initializer`); empty for
            nothing.

    Attributes:
        intake: Where calls come in.
        ending: Whether it ends with the last call that it was given.
        feeds: What goes on by itself as long as it has items.

    Raises:
        CoreStartError: The core processes cannot be started.
    """

    def __init__(self, settings: CoordinatorSettings, initializer: bytes) -> None:
        self.ending = False
        self.feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._initializer = InitializerFile(initializer)
        settings = msgspec.structs.replace(settings, initializer=self._initializer.fd)
        self._host = host = Host.start()
        self._engine = _PrivateEngine(settings, host)
        self.intake: Intake = self._engine.intake
        self._end_task: asyncio.Task[None] | None = None
        try:
            host.call(self._engine.open)
        except BaseException:
            self._initializer.close()
            host.close()
            raise
        _runtimes.add(self)

    def withdraw(self, token: ForwardingToken[Any]) -> bool:
        """Never begin a token; False if it was sent to a core, or is withdrawn already."""
        return self._engine.retract(token)

    def kill(self, token: ForwardingToken[Any], reason: str) -> None:
        """End a token, also one that runs. Does not wait."""
        self._host.post(lambda: self._engine.kill(token, reason))

    def end(self, *, cancel: bool = False) -> None:
        """Take no more calls, and end with the last one there is. Does not wait.

        Args:
            cancel: Cancel the calls that were not sent to a core.
        """
        self.ending = True
        self._host.post(lambda: self._end_in_loop(cancel=cancel))

    def wait(self) -> None:
        """Wait, after `end`, until all has ended; not in a callback, which that waits for."""
        self._host.wait()

    def _end_in_loop(self, *, cancel: bool) -> None:
        if cancel:
            self._engine.cancel_unsent()
            for feed in list(self.feeds):
                feed.cancel(concurrent.futures.CancelledError())
        if self._end_task is None:
            self._end_task = self._host.loop.create_task(self._end())

    async def _end(self) -> None:
        try:
            await self._engine.join()
        finally:
            self._engine.close(_gone)
            self._initializer.close()
            _runtimes.discard(self)
            self._host.close()

    def abandon(self) -> None:
        """In a fork of this process: the core processes and the calls are the parent's."""
        self.ending = True
        self._initializer.close()
        self._engine.abandon()


class _PrivateEngine(Engine):
    """A engine that other threads can take tokens from, until they are sent.

    Whether a token is sent or withdrawn is decided under one lock: whoever was told that a call is
    cancelled can rely on it.

    Calls come from other threads, and each time one of them wakes the loop, it waits for the GIL
    meanwhile. So for a moment after it took in calls, and unless there is nothing to do, the loop
    is not woken for the next ones, but looks for them when that moment has passed.
    """

    def __init__(self, settings: CoordinatorSettings, host: Host) -> None:
        super().__init__(settings, host, public=False)
        # Reentrant: a callback of a token that no core is left for may cancel others.
        self._sending = threading.RLock()
        self._withdrawn: deque[Token[Any]] = deque()
        self._expecting = False
        self._moment = Timer(host.loop, self._look_for_calls)

    @property
    def intake(self) -> Intake:
        return self._intake

    def withdraw(self, token: ForwardingToken[Any]) -> None:
        self.retract(token)

    def retract(self, token: ForwardingToken[Any]) -> bool:
        """Never begin a token; False if it was sent to a core, or is withdrawn already."""
        with self._sending:
            if token.stage not in _UNSENT or token.recipient is None:
                return False
            token.recipient = None
            self._withdrawn.append(token)
        self.request_turn_from_elsewhere()
        return True

    def request_turn_from_elsewhere(self) -> None:
        if not (self._expecting and self._scheduler.accounts.unended_count):
            super().request_turn_from_elsewhere()

    def _turn_in_loop(self) -> None:
        calls = not self._intake.is_empty()
        super()._turn_in_loop()
        if calls and not self._ended:
            self._expecting = True
            self._moment.run_within(EXPECTING_SECONDS)

    def _look_for_calls(self) -> None:
        # In this order: whoever comes after the look finds that nobody is expected.
        self._expecting = False
        if not self._intake.is_empty():
            self.request_turn()

    def _send(self) -> None:
        with self._sending:
            while self._withdrawn:
                self.control.cancelled(self._withdrawn.popleft())
            super()._send()

    def kill(self, token: ForwardingToken[Any], reason: str) -> None:
        """End a token. In the loop's thread."""
        with self._sending:
            self.take_in()
        self.control.kill(token, reason)

    def cancel_unsent(self) -> None:
        """Cancel every call that was not sent to a core."""
        with self._sending:
            self.take_in()
            unsent = [
                token for token in self._scheduler.accounts.unended() if token.stage in _UNSENT
            ]
        for token in unsent:
            recipient = token.recipient if isinstance(token, ForwardingToken) else None
            if recipient is not None:
                recipient.cancel()


def _gone(token: Token[Any]) -> TokenKilled:
    return TokenKilled(token.token_id, "the executor has ended")


def _end_at_exit() -> None:
    """As the standard executors do: what was submitted is still run."""
    runtimes = list(_runtimes)
    for runtime in runtimes:
        runtime.end()
    for runtime in runtimes:
        runtime.wait()


def _let_go_after_fork() -> None:
    for runtime in _runtimes:
        runtime.abandon()
    _runtimes.clear()


atexit.register(_end_at_exit)
os.register_at_fork(after_in_child=_let_go_after_fork)
