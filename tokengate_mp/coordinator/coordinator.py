"""The coordinator: starts and stops, and is what a user holds.

A token's way, each room once:

    call → decorator (encode) → gate (lane) → scheduler (core) → request ring
         → crew thread (run) → outcome ring → ledger (settle) → the Token's future

The walking is done in the engine, and the deciding in the scheduler.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import msgspec
from psutil import virtual_memory

from tokengate_mp import this_process
from tokengate_mp.calls.decorator import refuse_unsuitable
from tokengate_mp.config.cpus import usable_cpus
from tokengate_mp.config.settings import (
    MAX_PENDING,
    RESTART_LIMIT,
    RESTART_PERIOD,
    CoordinatorSettings,
    coordinator_settings,
)
from tokengate_mp.coordinator.calls import Calls
from tokengate_mp.coordinator.controls import Controls
from tokengate_mp.cores.initializer_file import InitializerFile
from tokengate_mp.cores.supervisor import Supervisor
from tokengate_mp.engine.engine import Engine
from tokengate_mp.errors import CoordinatorNotRunning, CoordinatorRunning, TokenKilled
from tokengate_mp.loops.host import Host
from tokengate_mp.sigint import HeldBack
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.protocol.initializer import pack_initializer


class OperationsCoordinator(Calls, Controls):
    """Runs the tokens of this process on core processes.

    Started within a running event loop, it serves that loop. Without one, it runs a loop of its own
    in a background thread, and `token.get()` waits for results. There is one at a time.

        async with OperationsCoordinator():      # joins at the end, stops on an exception
            results = await asyncio.gather(*(f(x) for x in data))

        with OperationsCoordinator():            # the same, in a plain script
            tokens = [f(x) for x in data]
            results = [token.get() for token in tokens]

    Args:
        cores: How many core domains, or the CPU number of each; default: one for each CPU that
            this process may really use (affinity, cgroup quota, PYTHON_CPU_COUNT). A count may be
            higher than that.
        threads_per_core: Threads in each core process, for tokens that wait for something; those
            that compute run one at a time.
        routing: "work_conserving": weight ranges say who comes first on a core, and no core is
            idle while anything waits; "strict": a class never leaves its range.
        ring_bytes: Size of the two rings between this process and each core process, a power of
            two. What is larger travels in pieces.
        grace: Seconds that a function gets to end after it was interrupted, and core processes
            after `stop`, before they are killed.
        poison_limit: A token that has ended so many core processes is not run again, `idempotent`
            or not.
        max_pending: How many tokens may have been made and not have ended.
        max_pending_bytes: How many bytes of arguments these may have, those of 4 kB and less not
            counted; default: half of the machine's memory.
        on_full: What a call does beyond that. "wait": it waits, in a thread without an event loop;
            within a loop it raises `AdmissionRejected`, as no call can wait there (`await ready()`
            before it does). "reject": it raises that everywhere.
        max_shared_bytes: How many bytes of shared memory may be taken by arguments and results of
            64 KiB and more: half of it by arguments and what is shared, the other half by results,
            an equal part for each core. What finds no room goes the slower way, in pieces through
            the rings; `share` raises `PayloadError` then. Default: a quarter of the machine's
            memory. 0: there is no shared memory.
        output: Where what functions print goes. "forward": to the `sys.stdout` and `sys.stderr` of
            this process, in whole lines; "inherit": straight to where the output of this process
            goes, past whatever has taken their place here.
        initializer: Called in each core process before its first token, in those that replace
            others too. What it leaves in global variables is there for tokens, in a module as in a
            script. Should it raise, tokens raise `InitializerFailed`.
        initargs: Its arguments.
        max_tokens_per_core: A core process that has run so many tokens (a batch of `map` is one) is
            *recycled*: a fresh one is started, gets ready beside it, and takes over; the old one
            finishes what it runs, and ends. What it runs until then is more. None for never.
        max_rss: From this resident set on, in bytes, a core process is recycled too, once it has
            run a token. It is looked at about once a second, so a process may exceed it for a
            while. None for any.
        restart_limit: When more than so many processes of a core have ended within
            `restart_period`, none of which had completed a token, the core is given up; tokens that
            may run on no other core raise `CoreStartError`. A process that is ended because a token
            in it does not heed being killed, or that is recycled, does not count.
        restart_period: Seconds.

    Raises:
        TypeError: An argument has the wrong type; or calling `initializer` would only make a
            coroutine or a generator.
        ValueError: An argument is out of range, or names a CPU that may not be used.
        PayloadError: The initializer or its arguments cannot be sent to a core process.
    """

    def __init__(  # noqa: PLR0913 - the public options, each with its default
        self,
        cores: int | Iterable[int] | None = None,
        threads_per_core: int = 4,
        routing: str = "work_conserving",
        *,
        ring_bytes: int = 1 << 20,
        grace: float = 2.0,
        poison_limit: int = 2,
        max_pending: int = MAX_PENDING,
        max_pending_bytes: int | None = None,
        on_full: str = "wait",
        max_shared_bytes: int | None = None,
        output: str = "forward",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tokens_per_core: int | None = None,
        max_rss: int | None = None,
        restart_limit: int = RESTART_LIMIT,
        restart_period: float = RESTART_PERIOD,
    ) -> None:
        super().__init__()
        self.settings: CoordinatorSettings = coordinator_settings(
            cores,
            usable_cpus(),
            threads_per_core=threads_per_core,
            routing=routing,
            ring_bytes=ring_bytes,
            grace=grace,
            poison_limit=poison_limit,
            max_pending=max_pending,
            max_pending_bytes=(
                virtual_memory().total // 2 if max_pending_bytes is None else max_pending_bytes
            ),
            on_full=on_full,
            max_shared_bytes=max_shared_bytes,
            output=output,
            max_tokens_per_core=max_tokens_per_core,
            max_rss=max_rss,
            restart_limit=restart_limit,
            restart_period=restart_period,
        )
        self._initializer = b""
        if initializer is not None:
            refuse_unsuitable(initializer)
            self._initializer = pack_initializer(initializer, tuple(initargs))
        self._initializer_file: InitializerFile | None = None
        self._stopped = threading.Event()
        self._stopper = 0
        self._host: Host | None = None
        self._engine: Engine | None = None

    # ---- starting and stopping

    def start(self) -> Self:
        """Start the core processes and take calls from now on; tokens wait until one is ready.

        Raises:
            CoordinatorRunning: A coordinator is running in this process.
            CoordinatorNotRunning: This one was stopped; make a new one.
            CoreStartError: The first core process cannot be started. (Should only another one not,
                that is tried again, and then given up.)
        """
        started = False
        try:
            with HeldBack():
                self._start()
                started = True
        except BaseException:
            if started:  # Ctrl-C, since: whoever called it does not get to stop it
                self.stop()
            raise
        return self

    def _start(self) -> None:
        if this_process.core is not None:
            raise CoordinatorRunning(
                "this is a core process, and may not start a coordinator (and so core processes, "
                "which would start coordinators …). If a module does so when it is imported, put "
                'that part of it under `if __name__ == "__main__":`.'
            )
        with this_process.claiming:
            before: OperationsCoordinator | None = this_process.coordinator
            if before is not None and before._is_stranded():  # noqa: SLF001 - of this class
                before.stop()
            if this_process.coordinator is not None:
                raise CoordinatorRunning(
                    "a coordinator is running in this process already; stop it first, or share "
                    "it: decorated functions find it by themselves"
                )
            if self._host is not None:
                raise CoordinatorNotRunning(
                    "this coordinator was stopped; make a new OperationsCoordinator"
                )
            this_process.claim(self, self._abandon)
            self._host = host = Host.find()
        # The lock is not held while one thread waits for another.
        self._initializer_file = file = InitializerFile(self._initializer)
        settings = msgspec.structs.replace(self.settings, initializer=file.fd)
        engine = Engine(settings, host, Supervisor(settings, host.loop))
        try:
            host.call(engine.open)
        except BaseException:
            self._host = None
            this_process.release()
            file.close()
            host.end_loop()
            raise
        self._engine = engine

    def stop(self) -> None:
        """End everything now: every token that has not ended is killed, every process ended.

        May be called from anywhere, and again.
        """
        with HeldBack():
            self._stop()

    def _stop(self) -> None:
        with this_process.claiming:
            host, engine = self._host, self._engine
            if host is None or engine is None:
                return
            first = this_process.coordinator is self
            if first:
                this_process.release()
                self._stopper = threading.get_ident()
        if first:
            try:
                host.call(lambda: engine.close(_stopped))
            finally:
                if self._initializer_file is not None:
                    self._initializer_file.close()
                host.end_loop()
                self._stopped.set()
        elif host.is_here:
            engine.close(_stopped)  # if another thread's call has not come to it yet
        elif self._stopper != threading.get_ident():  # it is, in a signal handler within stop()
            self._stopped.wait()

    def _is_stranded(self) -> bool:
        """Whether the loop that it was started in is closed, and it was not stopped."""
        return self._host is not None and not self._host.own and self._host.loop.is_closed()

    def _abandon(self) -> None:
        """In a fork of this process: the core processes and the tokens are the parent's."""
        engine, self._engine, self._host = self._engine, None, None
        if self._initializer_file is not None:
            self._initializer_file.close()
        if engine is not None:
            engine.abandon()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            # Inside a running loop nobody could resolve the tokens while this thread waits: there,
            # `async with` joins, and `with` does not.
            running = this_process.coordinator is self
            if kind is None and running and self._host is not None and self._host.own:
                asyncio.run_coroutine_threadsafe(self.join(), self._host.loop).result()
        finally:
            self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                await self.join()
        finally:
            self.stop()


def _stopped(token: Token[Any]) -> TokenKilled:
    return TokenKilled(token.token_id, "the coordinator was stopped")


def _stop_at_exit() -> None:
    coordinator: OperationsCoordinator | None = this_process.coordinator
    if coordinator is not None:
        coordinator.stop()


atexit.register(_stop_at_exit)
