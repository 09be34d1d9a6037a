"""joblib's backend: `Parallel` on core processes.

joblib takes the items and makes batches of them, whose size it adapts to how long they take; it
calls back for each batch that has ended, and then sends the next one.

Those callbacks run in a thread of each `Parallel`, not in the one that results arrive in: they read
the caller's iterable, which may take long, or wait for the results of another `Parallel`.
"""

from __future__ import annotations

import atexit
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from multiprocessing.process import current_process
from queue import SimpleQueue
from types import ModuleType
from typing import Any, Final

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from tokengate_mp import this_process
from tokengate_mp.calls.decorator import is_constant, operation_name
from tokengate_mp.calls.token_function import TokenFunction
from tokengate_mp.errors import (
    CoordinatorNotRunning,
    CoreStartError,
    PayloadError,
    RemoteTraceback,
    summary,
)
from tokengate_mp.integrations.calls import Call, Interruption, run_calls
from tokengate_mp.integrations.preparation import Initializer, preparation
from tokengate_mp.integrations.reserve import Kind, Lease, lease
from tokengate_mp.locks import new_lock
from tokengate_mp.wire.payload.codec import arguments_to_pickle
from tokengate_mp.wire.payload.definition import define
from tokengate_mp.wire.protocol.call_encoder import parameter_names

NAME: Final = "tokengate"
"""What the backend is called in `joblib.parallel_config(backend=…)`."""

IDLE_SECONDS: Final = 300.0
"""How long core processes are kept after a `Parallel` has ended, as loky does."""

_OF_OTHER_BACKENDS: Final = frozenset(
    {"temp_folder", "max_nbytes", "mmap_mode", "verbose", "context"}
)
"""What joblib passes to every backend, and has no meaning here: arrays are not mapped to files."""

_at_exit: Final = threading.Event()
_backends: Final[weakref.WeakSet[TokenGateBackend]] = weakref.WeakSet()


class TokenGateBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib publishes no types
    """The backend that `joblib.parallel_config(backend="tokengate")` makes.

    Args:
        nesting_level: How many `Parallel` the backend is in; joblib says that.
        inner_max_num_threads: Threads that numeric libraries may use in each core process; default:
            what `OMP_NUM_THREADS` and the like say, or else its share of the CPUs.
        idle_worker_timeout: Seconds that core processes are kept after their last use; default 300.
        initializer: Called in each core process before its first call.
        initargs: Its arguments.

    Raises:
        TypeError: There is no such option.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    # Seconds. The least is joblib's own (calls of 1 ms, 2 cores: 0.1 s is 0.6 % slower, and 0.4 s
    # no faster); the most is a fourth of joblib's: the last batches leave other cores idle.
    MIN_IDEAL_BATCH_DURATION = 0.2
    MAX_IDEAL_BATCH_DURATION = 0.5

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        idle_worker_timeout: float | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        **others: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        _refuse(others)
        self._initializer = _initializer(initializer, initargs)
        self._idle_seconds = IDLE_SECONDS if idle_worker_timeout is None else idle_worker_timeout
        self._kind: Kind | None = None
        self._users = 0
        self._fit = True
        self._lock = new_lock()
        self._lease: Lease | None = None
        self._forgotten: weakref.finalize[Any, Any] | None = None
        self._couriers: dict[int, _Courier] = {}
        self._flying: dict[Future[Any], Any] = {}
        self._definitions: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()
        _backends.add(self)

    # ---- what joblib asks

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """The number of core processes that `n_jobs` means; 1 in a core process.

        It is 1 too, with a warning, where joblib's own backends start no processes: in a worker of
        multiprocessing, and in a thread of another `Parallel`.

        Raises:
            ValueError: `n_jobs` is 0.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or this_process.core is not None:
            return 1
        nested = self._nested_in()
        if nested is not None:
            if n_jobs != 1:
                warnings.warn(
                    f"{NAME}-backed parallel loops cannot be nested in {nested}, setting n_jobs=1",
                    stacklevel=3,
                )
            return 1
        if n_jobs > 0:
            return n_jobs
        from tokengate_mp.config.cpus import usable_cpus  # noqa: PLC0415 - not in a core

        return max(len(usable_cpus()) + 1 + n_jobs, 1)

    def _nested_in(self) -> str | None:
        """Say what the calling thread is nested in that uses all CPUs; None for nothing."""
        if current_process().daemon:
            return "a worker of multiprocessing"
        if self.nesting_level and not self.in_main_thread():
            return "threads of another Parallel"
        return None

    def configure(  # noqa: PLR0913, PLR0917 - joblib's
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        idle_worker_timeout: float | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        **others: Any,
    ) -> int:
        """Make ready for a `Parallel`; returns its number of core processes.

        Raises:
            FallbackToBackend: One job needs no core process.
            TypeError: There is no such option.
        """
        del prefer, require  # joblib has heeded them
        _refuse(others)
        jobs = self.effective_n_jobs(n_jobs)
        if jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if idle_worker_timeout is not None:
            self._idle_seconds = idle_worker_timeout
        first = _initializer(initializer, initargs) or self._initializer
        kind = Kind(jobs, preparation(jobs, self.inner_max_num_threads, first))
        with self._lock:
            if self._lease is not None and kind != self._kind:
                # Another Parallel that uses this backend goes on with processes of its own.
                self._release()
            self._kind = kind
            self._users += 1
            self._ensure_lease()
        self.parallel = parallel
        return jobs

    def start_call(self) -> None:
        """Forget definitions: functions are sent anew, as of now, for each call of a `Parallel`."""
        self._definitions.clear()

    def terminate(self) -> None:
        """End the use of the backend by a `Parallel`."""
        if _at_exit.is_set():
            return  # no thread starts any more, and everything has ended
        with self._lock:
            self._users = max(0, self._users - 1)
            if self._users:
                return
            self._release()
            couriers = list(self._couriers.values())
            self._couriers.clear()
        for courier in couriers:
            courier.finish_calls()
        self.reset_batch_stats()

    def submit(self, func: Any, callback: Any = None) -> Future[list[Any] | Interruption]:
        """Send a batch.

        Args:
            func: joblib's batch of calls.
            callback: Called with the future when it is done.
        """
        try:
            if _at_exit.is_set():
                raise RuntimeError("the interpreter ends")  # noqa: TRY301 - see below
            definitions, calls = self._split_batch(func.items)
            with self._lock:
                executor = self._ensure_lease().executor
            level = (self.nesting_level or 0) + 1
            future = executor.submit(run_calls, level, _NEST, definitions, calls)
            if future.done() and isinstance(future.exception(), PayloadError):
                _blame(func.items)
        except Exception as error:  # noqa: BLE001 - in joblib's callbacks nobody would hear of it
            future = Future()
            future.set_exception(error)
        parallel = getattr(callback, "parallel", None)
        self._flying[future] = parallel
        with self._lock:
            courier = self._couriers.get(id(parallel))
            if courier is None:
                courier = self._couriers[id(parallel)] = _Courier()
        future.add_done_callback(lambda done: self._landed(done, courier, callback))
        return future

    def _landed(self, future: Future[Any], courier: _Courier, callback: Any) -> None:
        self._flying.pop(future, None)
        if callback is not None:
            courier.hand_over(lambda: callback(future))

    def retrieve_result_callback(self, out: Future[list[Any] | Interruption]) -> list[Any]:
        """Return the results of a batch.

        Raises:
            WorkerLost: The core process of the batch died.
            Exception: What one of its calls raised.
            KeyboardInterrupt: One of its calls raised that.
        """
        try:
            results = out.result()
        except (CoreStartError, CoordinatorNotRunning):
            self._fit = False  # the next Parallel needs other core processes
            raise
        if isinstance(results, Interruption):
            raise KeyboardInterrupt(*results.arguments) from RemoteTraceback(results.traceback)
        return results

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002 - joblib's
        """End the calls of each `Parallel` that is aborted, running calls too."""
        del ensure_ready  # they are ready: no call takes others with it
        for future, parallel in list(self._flying.items()):
            if getattr(parallel, "_aborting", True):
                kill = getattr(future, "kill", None)  # a future that failed at once has none
                if kill is not None:
                    kill("joblib has no use for its result any more")

    # ---- executors

    def _ensure_lease(self) -> Lease:
        if self._lease is None:
            self._fit = True
            assert self._kind is not None, "configured before any batch"
            self._lease = lease(self._kind, self._idle_seconds)
            # A backend that is forgotten without `terminate` has no use for the lease either.
            self._forgotten = weakref.finalize(self, Lease.end_use, self._lease)
            self._forgotten.atexit = False
        return self._lease

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            if self._forgotten is not None:
                self._forgotten.detach()
            lease.end_use(keep=self._fit)

    # ---- batches

    def _split_batch(self, items: list[Call]) -> tuple[tuple[bytes, ...], list[Call]]:
        """Split a batch into its functions, each once, and its calls with the functions' indices.

        Raises:
            PayloadError: A function cannot be sent.
        """
        indices: dict[Any, int] = {}
        definitions: list[bytes] = []
        calls: list[Call] = []
        for given, args, kwargs in items:
            function = given.__wrapped__ if isinstance(given, TokenFunction) else given
            if is_constant(function):
                index = indices.get(function)
                if index is None:
                    index = indices[function] = len(definitions)
                    definitions.append(self._definition(function))
                calls.append((index, args, kwargs))
            else:
                calls.append((function, args, kwargs))
        return tuple(definitions), calls

    def _definition(self, function: Callable[..., Any]) -> bytes:
        found = self._definitions.get(function)
        if found is None:
            try:
                found = define(function)
            except Exception as error:
                raise PayloadError(
                    f"{operation_name(function)!r} cannot be sent to a core process: "
                    f"{summary(error)}. Pass what it refers to as arguments, or build it inside."
                ) from error
            self._definitions[function] = found
        return found


def _initializer(function: Any, arguments: Iterable[Any]) -> Initializer | None:
    """Take an initializer from the user.

    Raises:
        TypeError: It cannot be called.
    """
    if function is None:
        return None
    if not callable(function):
        raise TypeError("initializer must be callable")
    return Initializer(function, tuple(arguments))


def _blame(items: list[Call]) -> None:
    """Find the call of a batch that cannot be sent.

    Raises:
        PayloadError: Names the function and its argument.
    """
    for given, args, kwargs in items:
        function = given.__wrapped__ if isinstance(given, TokenFunction) else given
        names = partial(parameter_names, function)
        arguments_to_pickle(operation_name(function), args, kwargs, names)


def nest_joblib(joblib: ModuleType, level: int) -> Any:
    """Tell joblib, in a core process, the level of nesting; returns the configuration."""
    workers = sys.modules.get("joblib.externals.loky.process_executor")
    if workers is not None and hasattr(workers, "_CURRENT_DEPTH"):
        # This is a worker as one of loky's is, in which multiprocessing starts no further ones.
        vars(workers)["_CURRENT_DEPTH"] = level
    joblib.register_parallel_backend(NAME, TokenGateBackend)
    nested = joblib.ThreadingBackend if level <= 1 else joblib.SequentialBackend
    return joblib.parallel_config(nested(nesting_level=level), n_jobs=None)


_NEST: Final = define(nest_joblib)


class _Courier:
    """A thread that runs callbacks in turn."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.hand_over = self._calls.put
        threading.Thread(
            target=_deliver, args=(self._calls,), name="tokengate-joblib", daemon=True
        ).start()

    def finish_calls(self) -> None:
        """End the thread when the callbacks that were handed over have run."""
        self._calls.put(None)


def _deliver(calls: SimpleQueue[Callable[[], object] | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call


def _refuse(others: dict[str, Any]) -> None:
    unknown = sorted(others.keys() - _OF_OTHER_BACKENDS)
    if unknown:
        raise TypeError(
            f"the joblib backend {NAME!r} has no option {unknown[0]!r}; there are "
            "inner_max_num_threads, idle_worker_timeout, initializer and initargs"
        )


def _abort_at_exit() -> None:
    """End calls of generators that nobody has gone through to their end."""
    _at_exit.set()
    for backend in list(_backends):
        for future in list(backend._flying):  # noqa: SLF001 - of this module
            kill = getattr(future, "kill", None)
            if kill is not None:
                kill("the interpreter ends")


atexit.register(_abort_at_exit)
