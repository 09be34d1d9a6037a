"""What coordinators and executors have in common as pools of core processes: share and restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tokengate_mp.coordinator.shared import Shared
from tokengate_mp.engine.engine import Engine
from tokengate_mp.loops.host import Host
from tokengate_mp.observe.observed import Observed
from tokengate_mp.wire.arena.arena import Arena

T = TypeVar("T")


async def run_in(host: Host, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await a coroutine that belongs to the loop of a host, from whatever loop."""
    if asyncio.get_running_loop() is host.loop:
        await work()
    else:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), host.loop))


class CorePool(Observed):
    """A coordinator or executor."""

    def _to_restart(self) -> tuple[Host, Engine] | None:
        """The engine, and its loop; None if there are no core processes yet."""
        raise NotImplementedError

    def _to_share(self) -> Arena | None:
        """The arena in which values are shared; None if there is none."""
        raise NotImplementedError

    def share(self, value: T) -> Shared[T]:
        """Store a value in shared memory, once for any number of calls of this pool.

        (An executor starts its core processes for that.)

        Returns:
            A handle. Calls take it in place of the value, and their functions get the value; an
            array is a read-only view. It can be closed, and be used in a `with` statement.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
            RuntimeError: This executor was shut down.
            PayloadError: It cannot be pickled, or there is no room for it.
            CoreStartError: The core processes of an executor cannot be started.
        """
        return Shared(value, self._to_share())

    async def restart(self) -> None:
        """Replace every core process while it is well, and lose no token.

        The next process of a core gets ready beside the one before, which finishes what it has
        begun. All begin with the environment, the working directory, `sys.path` and the log levels
        as they are now, and run the initializer. Returns when the last core has its new process.
        From any event loop; calls at one time are one restart.

        Raises:
            CoordinatorNotRunning: The core processes were stopped.
            CoreStartError: A process cannot be started. The old one goes on; those of other cores
                may have been replaced.
        """
        there = self._to_restart()
        if there is not None:
            host, engine = there
            await run_in(host, engine.restart)
