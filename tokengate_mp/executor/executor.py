"""`TokenGateExecutor`: the interface of `concurrent.futures`, on core processes.

Docstrings of methods say in what they differ from `concurrent.futures.ProcessPoolExecutor`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from multiprocessing.context import BaseContext
from signal import SIGKILL, SIGTERM
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from tokengate_mp import this_process
from tokengate_mp.bulk.feed import Feed
from tokengate_mp.bulk.pace import Pace
from tokengate_mp.bulk.token_map import batched, synchronously
from tokengate_mp.calls.decorator import is_constant, operation_name, refuse_unsuitable
from tokengate_mp.calls.token_function import TokenFunction
from tokengate_mp.config.checks import buffered_items, whole
from tokengate_mp.config.cpus import usable_cpus
from tokengate_mp.config.option_table import token_options
from tokengate_mp.config.settings import coordinator_settings
from tokengate_mp.coordinator.core_pool import CorePool
from tokengate_mp.engine.engine import Engine
from tokengate_mp.errors import CoordinatorNotRunning, CoordinatorRunning, PayloadError
from tokengate_mp.executor.future import CallFuture
from tokengate_mp.executor.runtime import ExecutorRuntime
from tokengate_mp.executor.standard_map import map_by_submit
from tokengate_mp.executor.workers import cpus_of_workers
from tokengate_mp.locks import new_lock
from tokengate_mp.loops.host import Host
from tokengate_mp.observe.control_port import StatusPort
from tokengate_mp.observe.unstarted import UnstartedPort
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.sigint import HeldBack
from tokengate_mp.tokens.enrolled import Version
from tokengate_mp.tokens.numbers import next_number
from tokengate_mp.wire.arena.arena import Arena
from tokengate_mp.wire.protocol.call_encoder import CallEncoder
from tokengate_mp.wire.protocol.initializer import pack_initializer
from tokengate_mp.worker.run.applied import apply, apply_each

P = ParamSpec("P")
R = TypeVar("R")

_FIXED: Final = frozenset({range, tuple, str, bytes, frozenset})
"""Iterables that stay as they are, whatever becomes of those who hold them."""


class TokenGateExecutor(CorePool, Executor):
    """Runs calls on core processes, and gives standard futures.

        with TokenGateExecutor() as executor:
            results = list(executor.map(f, data))

    It is used like a `ProcessPoolExecutor`, and there may be any number of them, beside a running
    coordinator too. Nothing is started before the first call. When a core process dies, the calls
    that it was running raise `WorkerLost`, a `BrokenProcessPool`, and the executor goes on.

    Args:
        max_workers: Core processes; default: one for each CPU that this process may really use.
        mp_context: Not needed, as core processes are always fresh interpreters; accepted where the
            standard executor's would be fresh too ("spawn" and "forkserver").
        initializer: Called in each core process before its first call. Should it raise, every call
            raises `InitializerFailed`, which is a `BrokenProcessPool` too.
        initargs: Its arguments.
        max_tasks_per_child: After so many calls a core process is replaced by a fresh one, and it
            is never given more; None for never. A batch of `map` counts as one call, and calls that
            a call makes by decorated functions are not held back. The next process is
            started ahead, and calls wait only if it is late, which short calls and a small number
            make it.
        threads_per_core: Threads in each core process, for calls of decorated functions that wait
            for something; those that compute run one at a time, and so do all calls of plain
            functions, which have the process to themselves (see `exclusive` of `task_token_guard`).
        ring_bytes: As for `OperationsCoordinator`.
        grace: As for `OperationsCoordinator`.
        output: As for `OperationsCoordinator`.
        label: As for `OperationsCoordinator`.
        memory_limit: As for `OperationsCoordinator`.
        pin: As for `OperationsCoordinator`.
        writable: As for `OperationsCoordinator`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range, or asks for what is not supported.
        PayloadError: The initializer or its arguments cannot be sent to a core process.
    """

    def __init__(  # noqa: PLR0913 - those of the standard executor, in its order, and five of ours
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        threads_per_core: int = 1,
        ring_bytes: int = 1 << 20,
        grace: float = 2.0,
        output: str = "forward",
        label: str = "",
        memory_limit: int | None = None,
        pin: bool = True,
        writable: bool = False,
    ) -> None:
        if max_tasks_per_child is not None:
            whole("max_tasks_per_child", max_tasks_per_child, 1, 1 << 62)
        _check_context(mp_context)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be callable")
        usable = tuple(usable_cpus())
        self._settings = coordinator_settings(
            cpus_of_workers(max_workers, usable),
            usable,
            threads_per_core=threads_per_core,
            routing="work_conserving",
            ring_bytes=ring_bytes,
            grace=grace,
            output=output,
            max_tokens_per_core=max_tasks_per_child,
            exact=True,
            label=label,
            memory_limit=memory_limit,
            pin=pin,
            writable=writable,
        )
        super().__init__(label)
        # Under the name that the standard executors have it by: Dask asks them.
        self._max_workers = len(self._settings.cpus)
        self._initializer = (
            b"" if initializer is None else pack_initializer(initializer, tuple(initargs))
        )
        self._lock = new_lock()
        self._shut = False
        self._runtime: ExecutorRuntime | None = None
        self._functions: dict[int, _Enrolled] = {}
        self._applied: dict[tuple[str, bool, bool], _Enrolled] = {}

    # ---- calls

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Have `fn(*args, **kwargs)` called in a core process.

        The arguments are encoded here, so what is done to them afterwards changes nothing. If they
        cannot be, the future raises `PayloadError`.

        Raises:
            RuntimeError: The executor was shut down.
            TypeError: `fn` is not callable, or calling it would only make a coroutine or a
                generator.
            CoreStartError: The core processes cannot be started.
        """
        runtime = self._runtime
        if runtime is None or runtime.ending:
            runtime = self._running()
        future: CallFuture[R] = CallFuture()
        arguments: tuple[Any, ...] = args
        enrolled = self._functions.get(id(fn))
        try:
            if enrolled is None or not enrolled.version.is_current():
                enrolled, arguments = self._enrol(runtime, fn, args)
            number = next_number()
            # (No pending call: these encoders wait for no tokens among the arguments.)
            record: Any = enrolled.encoder.encode_call(
                number, enrolled.function, arguments, kwargs, runtime.intake
            )
        except PayloadError as error:
            future.set_exception(error)
            return future
        future._runtime = runtime  # noqa: SLF001 - made here
        try:
            future._token = runtime.intake.forward(  # noqa: SLF001 - made here
                number, enrolled.operation, record, enrolled.version, future
            )
        except CoordinatorNotRunning:  # another thread has shut it down meanwhile
            raise _shut_down() from None
        return future

    def _enrol(
        self, runtime: ExecutorRuntime, fn: Callable[..., Any], args: tuple[Any, ...]
    ) -> tuple[_Enrolled, tuple[Any, ...]]:
        """Make `fn` known to the core processes, as it is now; returns also the arguments."""
        function = fn.__wrapped__ if isinstance(fn, TokenFunction) else fn
        refuse_unsuitable(function)
        name = operation_name(function)
        if not is_constant(function):
            # It may change between two calls, so it travels with each, as an argument.
            kind = name, _wants_copies(fn), _is_exclusive(fn)
            applied = self._applied.get(kind)
            if applied is None:
                encoder = _encoder(name, _wants_copies(fn), applied=True)
                applied = _enrolled(runtime, apply, encoder, exclusive=_is_exclusive(fn))
                self._applied[kind] = applied
            return applied, (function, *args)
        if fn is not function:
            encoder = _encoder(name, _wants_copies(fn))
            return _enrolled(runtime, function, encoder, exclusive=_is_exclusive(fn)), args
        known, key = self._functions, id(fn)
        forgotten = weakref.ref(fn, lambda _: known.pop(key, None))
        known[key] = enrolled = _enrolled(
            runtime, function, _encoder(name), forgotten, exclusive=True
        )
        return enrolled, args

    def _running(self) -> ExecutorRuntime:
        """Return the runtime, started if need be."""
        with self._lock:
            runtime = self._runtime
            if self._shut or (runtime is not None and runtime.ending):
                raise _shut_down()
            if runtime is None:
                if this_process.core is not None:
                    raise CoordinatorRunning(
                        "this is a core process, and may not start an executor (and so core "
                        "processes, which would start executors …). If a module does so when it is "
                        'imported, put that part of it under `if __name__ == "__main__":`.'
                    )
                with HeldBack():
                    runtime = self._runtime = ExecutorRuntime(self._settings, self._initializer)
                    # Forgotten without shutdown(), it ends with its last call.
                    weakref.finalize(self, runtime.end_later).atexit = False
            return runtime

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[R]:
        """Call `fn` for each item, in batches; the results in order.

        Where `submit` is another one, by a subclass or set on this executor, each `chunksize` items
        (default: 1) go through that, as with the standard executors.

        Args:
            fn: The function.
            iterables: As for the built-in `map`. They are read to their end at once, unless there
                is a `buffersize`, or it is one that cannot change, as a range. An item is encoded
                with its batch, so until its result is there it must not be changed.
            timeout: Seconds from now in which all results have to be there.
            chunksize: How many items a batch has; default: as many as take 20 ms or so, by
                how long those before took.
            buffersize: The most items that are read and not given back as results. They are then
                read as results are asked for.

        Raises:
            RuntimeError: The executor was shut down.
            TypeError: `fn` is not callable, or calling it would only make a coroutine or a
                generator; or `chunksize` or `buffersize` is no int.
            ValueError: `chunksize` or `buffersize` is below 1.
            PayloadError: The function cannot be encoded.
            CoreStartError: The core processes cannot be started.
        """
        if chunksize is not None:
            if isinstance(chunksize, bool) or not isinstance(chunksize, int):
                raise TypeError(f"chunksize must be an int or None, not {type(chunksize).__name__}")
            if chunksize < 1:
                raise ValueError("chunksize must be >= 1.")
        buffered_items(buffersize)
        if "submit" in vars(self) or type(self).submit is not TokenGateExecutor.submit:
            return map_by_submit(
                self,
                fn,
                iterables,
                call_each=apply_each,
                timeout=timeout,
                chunksize=1 if chunksize is None else chunksize,
                buffersize=buffersize,
            )
        function = fn.__wrapped__ if isinstance(fn, TokenFunction) else fn
        refuse_unsuitable(function)
        rows: Iterable[Any] = iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False)
        runtime = self._running()
        options = token_options(
            operation_name(function),
            weight="heavy",
            writable=_wants_copies(fn),
            exclusive=_is_exclusive(fn),
        )
        feed = Feed(
            runtime.intake,
            function,
            batched(options),
            # What cannot change need not be read at once.
            rows if buffersize is not None or type(rows) in _FIXED else list(rows),
            width=len(iterables),
            pace=Pace(chunksize),
            buffersize=buffersize,
            driven=buffersize is None,
        )
        try:
            feed.fill()
        except CoordinatorNotRunning:  # as in `submit`
            raise _shut_down() from None
        runtime.feeds.add(feed)
        return synchronously(feed, ordered=True, timeout=timeout)

    # ---- statistics

    def get_stats(self) -> dict[str, Any]:
        """Counts of calls, operations and cores, as plain data; from any thread, at any time.

        Before the first call, and in a fork of this process, all counts are 0 and no core is
        alive; after `shutdown` they are those of the end.

        Returns:
            `label`, and all that `OperationsCoordinator.get_stats` gives: a call is a token there,
            and so is a batch of `map`. An operation goes by the function's qualified name.
        """
        return {"label": self.label, **super().get_stats()}

    def _to_share(self) -> Arena | None:
        return self._running().intake.arena

    def _to_restart(self) -> tuple[Host, Engine] | None:
        runtime = self._runtime
        return None if runtime is None or runtime.ending else runtime.parts

    def _status_port(self, never_started: str) -> StatusPort:
        del never_started  # here that is no error, as an executor starts by itself
        runtime = self._runtime
        port = None if runtime is None else runtime.control_port
        return UnstartedPort(self._settings) if port is None else port

    def __repr__(self) -> str:
        label = f" {self.label!r}" if self.label else ""
        runtime = self._runtime
        if self._shut or (runtime is not None and runtime.ending):
            stage = "shut down"
        else:
            stage = "not started" if runtime is None else "running"
        return f"<TokenGateExecutor{label}: max_workers={self._max_workers}, {stage}>"

    # ---- the end

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard signature
        """Take no more calls, and end the core processes with the last call there is.

        Args:
            wait: Return when the core processes have ended.
            cancel_futures: Cancel the calls that were not sent to a core.
        """
        with self._lock:
            self._shut = True
            runtime = self._runtime
        if runtime is not None:
            runtime.end_later(cancel=cancel_futures)
            if wait:
                runtime.wait_until_ended()

    def terminate_workers(self) -> None:
        """End the core processes now, by SIGTERM: as Python 3.14 has it, on every Python.

        Calls that were not sent to a core are cancelled, and those that were raise `WorkerLost`. A
        process that does not end within `grace` is killed. Does not wait.
        """
        self._end_by_signal(SIGTERM, "terminate_workers() was called")

    def kill_workers(self) -> None:
        """End the core processes now, by SIGKILL; else as `terminate_workers`."""
        self._end_by_signal(SIGKILL, "kill_workers() was called")

    def _end_by_signal(self, signal: int, cause: str) -> None:
        with self._lock:
            self._shut = True
            runtime = self._runtime
        if runtime is not None:
            runtime.end_by_signal(signal, cause)


def _shut_down() -> RuntimeError:
    return RuntimeError("cannot schedule new futures after shutdown; make a new TokenGateExecutor")


def _check_context(context: Any) -> None:
    if context is None:
        return
    if not isinstance(context, BaseContext):
        kind = type(context).__name__
        raise TypeError(f"mp_context must be a context of multiprocessing, not {kind}")
    if context.get_start_method() == "fork":
        raise ValueError(
            "mp_context asks for forked workers, which begin with a copy of this process; core "
            "processes are fresh interpreters. Leave it out, and set up what they need in an "
            "initializer."
        )


class _Enrolled(NamedTuple):
    """A function that the core processes of a runtime know.

    Attributes:
        function: The index that the function travels as.
        operation: The operation that its calls count as.
        version: What keeps the function known.
        encoder: Encodes its calls.
        forgotten: A weak reference, whose callback forgets a function that is known by its id.
    """

    function: int
    operation: Operation
    version: Version
    encoder: CallEncoder
    forgotten: object


def _wants_copies(fn: Callable[..., Any]) -> bool:
    return isinstance(fn, TokenFunction) and fn.token_options.writable


def _is_exclusive(fn: Callable[..., Any]) -> bool:
    """Whether calls have their process to themselves: a decorated function says so by itself."""
    return not isinstance(fn, TokenFunction) or fn.token_options.policy.exclusive


def _encoder(name: str, writable: bool = False, *, applied: bool = False) -> CallEncoder:  # noqa: FBT001, FBT002 - of this module
    return CallEncoder(
        name, writable=writable, applied=applied, takes_tokens=False, carrier="a call"
    )


def _enrolled(
    runtime: ExecutorRuntime,
    function: Callable[..., Any],
    encoder: CallEncoder,
    forgotten: object = None,
    *,
    exclusive: bool,
) -> _Enrolled:
    # There are no weights here: "heavy" may run on every core.
    options = token_options(encoder.operation_type, weight="heavy", exclusive=exclusive)
    return _Enrolled(*runtime.intake.enrol(function, options), encoder, forgotten)
