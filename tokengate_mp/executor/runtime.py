"""The runtime of an executor: an engine of its own, in a loop of its own, in a thread.

The executor refers to the runtime and the runtime not to the executor: so an executor that is
forgotten without `shutdown` is noticed, and its runtime ends with the last call.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import weakref
from typing import Any

from tokengate_mp.bulk.feed import Feed
from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.coordinator.opening import open_engine
from tokengate_mp.engine.engine import Engine
from tokengate_mp.engine.outbound.intake import Intake
from tokengate_mp.errors import TokenKilled
from tokengate_mp.loops.host import Host
from tokengate_mp.observe.control_port import ControlPort
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.tokens.token import Token
from tokengate_mp.worker_lost import WorkerLost

_runtimes: set[ExecutorRuntime] = set()


class ExecutorRuntime:
    """Core processes, and the thread that runs their engine; running from the start.

    Args:
        settings: As for a coordinator.
        initializer: The packed initializer of the core processes (see
            `wire.protocol.initializer`); empty for none.

    Attributes:
        intake: Where calls come in.
        control_port: Steers the engine and shows it, also after the end; None in a fork, where the
            engine is the parent's.
        ending: Whether the runtime ends with the last call that it was given.
        feeds: Maps under way, each of which goes on by itself as long as there are items.

    Raises:
        CoreStartError: The core processes cannot be started.
    """

    def __init__(self, settings: CoordinatorSettings, initializer: bytes) -> None:
        self.ending = False
        self.feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._end_task: asyncio.Task[None] | None = None
        self._engine, self._host, self._initializer = open_engine(
            settings, initializer, Host.in_thread, public=False
        )
        self.intake: Intake = self._engine.intake
        self.control_port: ControlPort | None = self._engine.control_port
        _runtimes.add(self)

    @property
    def parts(self) -> tuple[Host, Engine]:
        """The loop, and the engine that lives in it."""
        return self._host, self._engine

    def withdraw_token(self, token: ForwardingToken[Any]) -> bool:
        """Withdraw a token; False if the token was sent to a core, or is withdrawn already."""
        return self._engine.withdrawals.retract_token(token)

    def kill_token(self, token: ForwardingToken[Any], reason: str) -> None:
        """End a token, running or not. Does not wait; in any thread."""
        self._host.post(lambda: self._engine.withdrawals.kill_call(token, reason))

    def end_later(self, *, cancel: bool = False) -> None:
        """Take no more calls, and end with the last call there is. Does not wait.

        Args:
            cancel: Cancel the calls that were not sent to a core.
        """
        self.ending = True
        self._host.post(lambda: self._end_in_loop(cancel=cancel))

    def end_by_signal(self, signal: int, cause: str) -> None:
        """Take no more calls, cancel those that were not sent, and signal the core processes.

        Calls that were sent raise `WorkerLost`. Does not wait; in any thread.

        Args:
            signal: What the core processes are sent. Those that live on are killed after `grace`.
            cause: The reason, for the errors.
        """
        self.ending = True
        self._host.post(lambda: self._end_by_signal(signal, cause))

    def _end_by_signal(self, signal: int, cause: str) -> None:
        self._end_in_loop(cancel=True)
        port = self.control_port
        if port is None or self._engine.ended:
            return
        pids = {core["core"]: core["pid"] for core in port.stats()["cores"]}
        self._engine.close(
            lambda token: WorkerLost(pids.get(token.core) or 0, -signal, because=cause), signal
        )

    def wait_until_ended(self) -> None:
        """Wait, after `end_later`, until all has ended; not in a callback, which that waits for."""
        self._host.wait_for_end()

    def _end_in_loop(self, *, cancel: bool) -> None:
        if cancel:
            self._engine.withdrawals.cancel_unsent()
            for feed in list(self.feeds):
                feed.stop_feed(concurrent.futures.CancelledError())
        if self._end_task is None:
            self._end_task = self._host.loop.create_task(self._end())

    async def _end(self) -> None:
        try:
            await self._engine.join()
        finally:
            self._engine.close(_gone)
            self._initializer.close()
            _runtimes.discard(self)
            self._host.end_loop()

    def abandon(self) -> None:
        """Forget core processes and calls in a fork, as both are the parent's."""
        self.ending = True
        self.control_port = None
        self._initializer.close()
        self._engine.abandon()


def _gone(token: Token[Any]) -> TokenKilled:
    return TokenKilled(token.token_id, "the executor has ended")


def _end_at_exit() -> None:
    """Run submitted calls before the interpreter ends, as the standard executors do."""
    runtimes = list(_runtimes)
    for runtime in runtimes:
        runtime.end_later()
    for runtime in runtimes:
        runtime.wait_until_ended()


def _let_go_after_fork() -> None:
    for runtime in _runtimes:
        runtime.abandon()
    _runtimes.clear()


atexit.register(_end_at_exit)
os.register_at_fork(after_in_child=_let_go_after_fork)
