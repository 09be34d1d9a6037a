"""The coordinator: what a user starts, calls, steers and stops.

A token's way, each room once:

    call → decorator (encode) → gate (lane) → scheduler (core) → request ring
         → crew thread (run) → outcome ring → ledger (settle) → the Token's future

The walking is done in the engine, and the deciding in the scheduler. What is here has parts: the
run from start to stop (`run`), calls of plain functions (`calls`), and the engine's control port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from tokengate_mp.bulk.progress import Wanted
from tokengate_mp.bulk.token_map import TokenMap
from tokengate_mp.calls.decorator import refuse_unsuitable
from tokengate_mp.config.cpus import usable_cpus
from tokengate_mp.config.memory import memory
from tokengate_mp.config.settings import (
    MAX_PENDING,
    RESTART_LIMIT,
    RESTART_PERIOD,
    CoordinatorSettings,
    coordinator_settings,
)
from tokengate_mp.coordinator.calls import PlainCalls, decorated_plainly
from tokengate_mp.coordinator.core_pool import CorePool, run_in
from tokengate_mp.coordinator.run import CoordinatorRun
from tokengate_mp.engine.engine import Engine
from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.loops.host import Host
from tokengate_mp.observe.control_port import ControlPort
from tokengate_mp.sigint import HeldBack
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.arena.arena import Arena
from tokengate_mp.wire.protocol.initializer import pack_initializer

P = ParamSpec("P")
R = TypeVar("R")


class OperationsCoordinator(CorePool):
    """The coordinator of a process: runs all tokens that are made there on core processes.

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
        threads_per_core: Threads in each core process, for tokens of decorated functions that wait
            for something; those that compute run one at a time, and exclusive ones alone.
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
        max_rss: From so many bytes of memory on that are its own (its resident set, less what it
            shares with others, as arrays that came by shared memory), a core process is recycled
            too, once it has run a token. It is looked at about once a second, so a process may
            exceed it for a while. None for any.
        memory_limit: How many bytes a core process may have for itself: a function that needs more
            gets `MemoryError`, and nobody else notices. What is in shared memory does not count;
            the stacks of threads do. None for any number. (Linux alone.)
        pin: Whether each core process is kept on its CPU. False: the system distributes them.
        writable: Whether large arrays arrive as copies that can be changed, as arguments and as
            results; as if every function were decorated with `writable=True`, and for results too.
        restart_limit: When more than so many processes of a core have ended within
            `restart_period`, none of which had completed a token, the core is given up; tokens that
            may run on no other core raise `CoreStartError`. A process that is ended because a token
            in it does not heed being killed, or that is recycled, does not count.
        restart_period: Seconds.
        label: A name for people, as in `repr` and in whatever shows a running program.

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
        memory_limit: int | None = None,
        pin: bool = True,
        writable: bool = False,
        restart_limit: int = RESTART_LIMIT,
        restart_period: float = RESTART_PERIOD,
        label: str = "",
    ) -> None:
        self.settings: CoordinatorSettings = coordinator_settings(
            cores,
            usable_cpus(),
            threads_per_core=threads_per_core,
            routing=routing,
            ring_bytes=ring_bytes,
            grace=grace,
            poison_limit=poison_limit,
            max_pending=max_pending,
            max_pending_bytes=(memory() // 2 if max_pending_bytes is None else max_pending_bytes),
            on_full=on_full,
            max_shared_bytes=max_shared_bytes,
            output=output,
            max_tokens_per_core=max_tokens_per_core,
            max_rss=max_rss,
            memory_limit=memory_limit,
            pin=pin,
            writable=writable,
            restart_limit=restart_limit,
            restart_period=restart_period,
            label=label,
        )
        super().__init__(self.settings.label)
        packed = b""
        if initializer is not None:
            refuse_unsuitable(initializer)
            packed = pack_initializer(initializer, tuple(initargs))
        self._run = CoordinatorRun(self.settings, packed)
        self._plain = PlainCalls()

    # ---- starting and stopping

    def start(self) -> Self:
        """Start the core processes and take calls from now on; tokens wait for the first core.

        Raises:
            CoordinatorRunning: A coordinator is running in this process.
            CoordinatorNotRunning: This one was stopped; make a new one.
            CoreStartError: The first core process cannot be started. (Should only another one not,
                that is tried again, and then given up.)
        """
        started = False
        try:
            with HeldBack():
                self._run.begin_run(self.stop)
                started = True
        except BaseException:
            if started:  # Ctrl-C, since: whoever called it does not get to stop it
                self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything now: every token that has not ended is killed, every process ended.

        May be called from anywhere, and again.
        """
        self._run.end_run()

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
            host = self._run.host
            if kind is None and self._run.is_current() and host is not None and host.own:
                asyncio.run_coroutine_threadsafe(self.join(), host.loop).result()
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

    # ---- calls

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Token[R]:
        """Make a token of calling an undecorated function (or any other callable).

        It has its core process to itself, as in a pool (see `exclusive` of `task_token_guard`); one
        of a decorated function is as that says.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
            TypeError: `function` is not callable, or calling it would only make a coroutine or a
                generator.
            PayloadError: The function or an argument cannot be encoded.
        """
        engine = self._run.engine
        if engine is None or not engine.takes_calls():
            raise CoordinatorNotRunning(_not_running("submit() was called"))
        last = self._plain.last
        if last is not None and last.__wrapped__ is function:
            return last(*args, **kwargs)
        return self._plain.call_plain(function, args, kwargs)

    def map(  # noqa: PLR0913 - the options of a map, each with its default
        self,
        function: Callable[..., R],
        iterable: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        ordered: bool = True,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: Wanted = None,
    ) -> TokenMap[R]:
        """Call an undecorated function (or any other callable) for each item, in batches.

        A batch has its core process to itself (see `exclusive` of `task_token_guard`); decorated
        functions are mapped as they say.

        Args:
            function: The function. As it is now: what is changed in it later changes nothing.
            iterable: As for `TokenFunction.map`.
            iterables: As for `TokenFunction.map`.
            ordered: As for `TokenFunction.map`.
            buffersize: As for `TokenFunction.map`.
            return_exceptions: As for `TokenFunction.map`.
            progress: As for `TokenFunction.map`.

        Raises:
            ImportError: What the progress is drawn with is not installed.
            CoordinatorNotRunning: This coordinator is not running.
            TypeError: `function` is not callable, or calling it would only make a coroutine or a
                generator; or `buffersize` is no int.
            ValueError: `buffersize` is below 1.
            PayloadError: The function cannot be encoded.
        """
        self._run.require_running(_not_running("map() was called"))
        mapped: TokenMap[R] = decorated_plainly(function).map(
            iterable,
            *iterables,
            ordered=ordered,
            buffersize=buffersize,
            return_exceptions=return_exceptions,
            progress=progress,
        )
        return mapped

    async def ready(self) -> None:
        """Wait until there is room for a call within `max_pending` and `max_pending_bytes`.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        host, engine = self._run.require_running(_not_running("ready() was awaited"))
        here, admission, place = asyncio.get_running_loop(), engine.admission, object()
        waiting = admission.ready(host.loop, place)
        try:
            if here is host.loop:
                await waiting
            else:
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(waiting, host.loop))
        finally:
            # Soon, as the caller makes its call first, if it makes any. (From another loop this one
            # may have been given up just when it was called there, so that is said in any case.)
            if here is not host.loop or admission.is_called(place):
                here.call_soon(host.post, lambda: admission.gone_on(place))

    async def join(self) -> None:
        """Wait until every token has ended."""
        host, engine = self._run.host, self._run.engine
        if host is None or engine is None or not engine.takes_calls():
            return  # then every token has ended
        await run_in(host, engine.join)

    # ---- controls

    def __repr__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        return f"<OperationsCoordinator{label}: cores={len(self.settings.cpus)}, {self._run.stage}>"

    def _to_share(self) -> Arena | None:
        return self._run.require_running(_not_running("share() was called"))[1].arena

    def _to_restart(self) -> tuple[Host, Engine]:
        return self._run.require_running(_not_running("restart() was awaited"))

    def _status_port(self, never_started: str) -> ControlPort:
        return self._run.control_port(never_started)

    @property
    def _control(self) -> ControlPort:
        _, engine = self._run.require_running(
            "this coordinator is not running, so there is nothing to control; start it first"
        )
        return engine.control_port

    def kill_token(self, token_id: str, reason: str = "killed by id") -> bool:
        """End the token with an id: awaiting that token raises `TokenKilled`.

        Returns:
            False if no token has this id, or it has ended already.

        Raises:
            TypeError: It is no str.
            CoordinatorNotRunning: This coordinator is not running.
        """
        if not isinstance(token_id, str):
            raise TypeError(f"token_id must be a str, not {type(token_id).__name__}")
        return self._control.kill_token(token_id, reason)

    def kill_all_by_operation(
        self, operation_type: str, reason: str = "its operation was killed"
    ) -> int:
        """End all tokens of an operation, waiting or running.

        Returns:
            How many there were.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        return self._control.kill_operation(operation_type, reason)

    def pause_admission(self) -> None:
        """Send no more tokens to cores until `resume_admission`; calls go on being taken.

        What cores hold already, a few milliseconds of work for each, is run to its end.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control.pause_admission()

    def resume_admission(self) -> None:
        """Send tokens to cores again.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control.resume_admission()

    def drain_pool(self) -> int:
        """End all waiting tokens as killed; how many there were.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        return self._control.drain(None, "the pool was drained")

    def pause_operation(self, operation_type: str) -> None:
        """Send no more tokens of an operation to cores, which need not have been called yet.

        Otherwise as `pause_admission`.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control.pause_operation(operation_type)

    def resume_operation(self, operation_type: str) -> None:
        """Send the tokens of that operation to cores again.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control.resume_operation(operation_type)

    def reset_operation(self, operation_type: str) -> bool:
        """Let the breaker of an operation take calls again, as if nothing had failed.

        Returns:
            False if it took them, or the operation has none.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        return self._control.reset_operation(operation_type)

    def drain_operation(self, operation_type: str) -> int:
        """End all waiting tokens of an operation as killed; how many there were.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        return self._control.drain(operation_type, "its operation was drained")


def _not_running(done: str) -> str:
    return f"{done} on a coordinator that is not running; start it first"
