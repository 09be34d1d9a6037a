"""Who is measured: one small class each, all with the contract of `Competitor`.

Each runs calls the way its own users would write it, with as many worker processes as there are
core domains. A library that is optional is imported when its class is instantiated, so that import
time is in nobody's figures. Workers ignore SIGINT: after Ctrl-C the parent ends them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.pool import Pool
from typing import Any, ClassVar, Final

from tokengate_mp import (
    OperationsCoordinator,
    register_joblib_backend,
    shutdown_joblib_backend,
)
from tokengate_mp.bench.work.tokens import TOKEN_FUNCTIONS
from tokengate_mp.bench.work.workloads import Call, Function

OURS: Final = "tokengate_mp"


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent (initializer of worker processes)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Competitor(ABC):
    """Way to run many calls; opened, used and closed within the same event loop."""

    name: ClassVar[str]
    """How it is called in tables, `--json` and `--only`."""
    package: ClassVar[str | None] = None
    """The distribution to install for it; None for what is always there."""

    def callable_for(self, function: Function) -> Function:
        """Return the callable that stands for `function` in the calls that `run` gets."""
        return function

    @abstractmethod
    async def open(self, cores: int) -> None:
        """Start `cores` workers, without having to wait until all are up."""

    @abstractmethod
    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Run all the calls and return their results in order."""

    @abstractmethod
    async def one(self, call: Call) -> object:
        """Run a single call and return its result."""

    @abstractmethod
    async def close(self) -> None:
        """End every process; nothing is left afterwards."""


class PlainLoop(Competitor):
    """A list comprehension in the parent: the mark that every executor has to beat."""

    name = "loop"

    async def open(self, cores: int) -> None:
        """Need nothing."""

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Make all calls, in order."""
        return [function(*arguments) for function, arguments in calls]

    async def one(self, call: Call) -> object:
        """Make the call."""
        function, arguments = call
        return function(*arguments)

    async def close(self) -> None:
        """Leave nothing."""


class AsyncioLimit(Competitor):
    """Futures that are made, gathered and resolved, with no work between: the floor of asyncio.

    Whatever gives awaitables to `asyncio.gather` cannot be faster. Every result is None, so it can
    only stand beside no-op calls.
    """

    name = "asyncio"

    async def open(self, cores: int) -> None:
        """Need nothing."""

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Make a future for each call, gather all, resolve all."""
        create_future = asyncio.get_running_loop().create_future
        futures: list[asyncio.Future[object]] = [create_future() for _ in calls]
        gathered = asyncio.gather(*futures)
        for future in futures:
            future.set_result(None)
        return await gathered

    async def one(self, call: Call) -> object:
        """Await a future that the loop resolves in its next round."""
        del call
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        loop.call_soon(future.set_result, None)
        return await future

    async def close(self) -> None:
        """Leave nothing."""


class TokengateMp(Competitor):
    """tokengate_mp: decorated functions and gather, under a coordinator."""

    name = OURS

    def __init__(self) -> None:
        """Start nothing yet."""
        self.coordinator: OperationsCoordinator | None = None

    def callable_for(self, function: Function) -> Function:
        """Return the token function."""
        return TOKEN_FUNCTIONS[function]

    async def open(self, cores: int) -> None:
        """Start a coordinator in the running loop."""
        self.coordinator = OperationsCoordinator(cores=cores)
        self.coordinator.start()

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Make every token, then gather."""
        tokens: list[Any] = [function(*arguments) for function, arguments in calls]
        results: list[object] = await asyncio.gather(*tokens)
        return results

    async def one(self, call: Call) -> object:
        """Make a token and await its result."""
        function, arguments = call
        token: Any = function(*arguments)
        return await token

    async def close(self) -> None:
        """Stop the coordinator."""
        if self.coordinator is not None:
            self.coordinator.stop()


class _InExecutor(Competitor):
    """Anything with the interface of `concurrent.futures`: run_in_executor and gather."""

    executor: Executor | None = None

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Hand every call to the executor, then gather."""
        submit, executor = asyncio.get_running_loop().run_in_executor, self.executor
        return await asyncio.gather(
            *[submit(executor, function, *arguments) for function, arguments in calls]
        )

    async def one(self, call: Call) -> object:
        """Hand over a call and await its result."""
        function, arguments = call
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *arguments)


class StandardExecutor(_InExecutor):
    """`concurrent.futures.ProcessPoolExecutor`, with the platform's own start method."""

    name = "PPE"

    async def open(self, cores: int) -> None:
        """Make the executor."""
        self.executor = ProcessPoolExecutor(cores, initializer=ignore_interrupts)

    async def close(self) -> None:
        """Drop waiting calls and join the workers."""
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)


class Loky(_InExecutor):
    """`loky.ProcessPoolExecutor`, the executor under joblib."""

    name = "loky"
    package = "loky"

    def __init__(self) -> None:
        """Import the library."""
        self._loky: Any = import_module("loky")

    async def open(self, cores: int) -> None:
        """Make the executor."""
        self.executor = self._loky.ProcessPoolExecutor(cores, initializer=ignore_interrupts)

    async def close(self) -> None:
        """Kill the workers, which have nothing left to do."""
        executor: Any = self.executor
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)


class StandardPool(Competitor):
    """`multiprocessing.Pool`: apply_async for each call, then get, blocking the event loop."""

    name = "Pool"

    def __init__(self) -> None:
        """Start nothing yet."""
        self._pool: Pool | None = None
        self._cores = 1

    async def open(self, cores: int) -> None:
        """Start the workers."""
        self._pool = multiprocessing.Pool(cores, initializer=ignore_interrupts)

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Submit every call, then fetch every result."""
        apply_async = self._opened().apply_async
        pending = [apply_async(function, arguments) for function, arguments in calls]
        return [result.get() for result in pending]

    async def one(self, call: Call) -> object:
        """Submit a call and fetch its result."""
        function, arguments = call
        return self._opened().apply_async(function, arguments).get()

    async def close(self) -> None:
        """Terminate and join the workers."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()

    def _opened(self) -> Pool:
        if self._pool is None:
            raise RuntimeError("the pool is not open: await open() first")
        return self._pool


class EqualShares(StandardPool):
    """The limit of the machine: each worker gets an equal share of all calls as a message.

    It gives all its results as one message too. So there is no scheduling, and next to no
    communication: with calls that take equally long, no executor can be faster on these CPUs.
    """

    name = "shares"

    async def open(self, cores: int) -> None:
        """Start the workers."""
        await super().open(cores)
        self._cores = cores

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Deal the calls out in turn, and put the results back in order."""
        cores = self._cores
        shares = [list(calls[first::cores]) for first in range(cores)]
        results: list[object] = [None] * len(calls)
        for first, done in enumerate(self._opened().map(_run_share, shares, chunksize=1)):
            results[first::cores] = done
        return results


def _run_share(share: Sequence[Call]) -> list[object]:
    return [function(*arguments) for function, arguments in share]


class Pebble(Competitor):
    """`pebble.ProcessPool`: schedule each call, then fetch each result, blocking the loop."""

    name = "pebble"
    package = "pebble"

    def __init__(self) -> None:
        """Import the library."""
        self._pebble: Any = import_module("pebble")
        self._pool: Any = None

    async def open(self, cores: int) -> None:
        """Make the pool."""
        self._pool = self._pebble.ProcessPool(cores, initializer=ignore_interrupts)

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Schedule every call, then fetch every result."""
        schedule = self._pool.schedule
        pending = [schedule(function, args=arguments) for function, arguments in calls]
        return [future.result() for future in pending]

    async def one(self, call: Call) -> object:
        """Schedule a call and fetch its result."""
        function, arguments = call
        result: object = self._pool.schedule(function, args=arguments).result()
        return result

    async def close(self) -> None:
        """Stop and join the workers."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()


class Joblib(Competitor):
    """`joblib.Parallel`: batches sized by joblib itself, blocking the loop until the end.

    No call of a batch has its result before all have, so it is no like for like where results are
    awaited one by one; it is here because it is what many would use instead.
    """

    name = "joblib"
    package = "joblib"

    def __init__(self) -> None:
        """Import the library."""
        self._joblib: Any = import_module("joblib")
        self._parallel: Any = None

    async def open(self, cores: int) -> None:
        """Make a Parallel that keeps its workers between runs."""
        self._parallel = self._joblib.Parallel(n_jobs=cores).__enter__()

    async def run(self, calls: Sequence[Call]) -> list[object]:
        """Run all calls as a single Parallel."""
        delayed = self._joblib.delayed
        results: list[object] = self._parallel(
            delayed(function)(*arguments) for function, arguments in calls
        )
        return results

    async def one(self, call: Call) -> object:
        """Run a Parallel of a single call."""
        return (await self.run([call]))[0]

    async def close(self) -> None:
        """End the Parallel, and the workers that joblib would keep for the next."""
        if self._parallel is not None:
            self._parallel.__exit__(None, None, None)
            reusable = import_module("joblib.externals.loky")
            reusable.get_reusable_executor().shutdown(wait=True, kill_workers=True)


class JoblibOnCores(Joblib):
    """`joblib.Parallel` on its backend "tokengate": tokengate_mp, for users of joblib."""

    name = OURS

    def __init__(self) -> None:
        """Import the library, and register the backend."""
        super().__init__()
        register_joblib_backend()

    async def open(self, cores: int) -> None:
        """Make a Parallel that keeps its core processes between runs."""
        self._parallel = self._joblib.Parallel(n_jobs=cores, backend="tokengate").__enter__()

    async def close(self) -> None:
        """End the Parallel, and the core processes that would be kept for the next."""
        if self._parallel is not None:
            self._parallel.__exit__(None, None, None)
            shutdown_joblib_backend()


COMPETITORS: Final[dict[str, Callable[[], Competitor]]] = {
    kind.name: kind
    for kind in (
        TokengateMp,
        PlainLoop,
        StandardExecutor,
        StandardPool,
        EqualShares,
        AsyncioLimit,
        Loky,
        Pebble,
        Joblib,
    )
}
"""Every competitor by name, ours first."""

UNDER_JOBLIB: Final[dict[str, Callable[[], Competitor]]] = {
    kind.name: kind for kind in (JoblibOnCores, Joblib)
}
"""Who has a part in the rows about joblib, by name, ours first."""

PACKAGES: Final = {kind.name: kind.package for kind in (Loky, Pebble, Joblib)}
"""Those that need a distribution of their own, and which."""


def installed(name: str) -> bool:
    """Return whether the competitor of that name can be used here."""
    package = PACKAGES.get(name)
    return package is None or find_spec(package) is not None
