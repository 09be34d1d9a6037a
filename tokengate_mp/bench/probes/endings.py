"""Probes of how fast tokens are ended, and core processes replaced; and what being ready costs.

Each takes place in an interpreter of its own, whose coordinator is asked for nothing else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import Any, Final

from tokengate_mp.bench.work.workloads import noop
from tokengate_mp.calls.decorator import task_token_guard
from tokengate_mp.worker_lost import WorkerLost

ROUNDS: Final = 3
"""How often each wave of the guarded tokens is run, and of the bare ones."""

GRACE: Final = 0.2
"""Seconds that a function has to end in the probes that wait for it."""

QUEUED: Final = 60


@task_token_guard(operation_type="bench_spin")
def spin(address: str) -> None:
    """Compute for ever in pure Python, after the sign of having begun."""
    _say(address)
    while True:
        pass


@task_token_guard(operation_type="bench_stuck")
def stuck(address: str) -> None:
    """Never come back from C code, having said so."""
    _say(address)
    while True:
        try:
            time.sleep(3600)
        except BaseException:  # noqa: BLE001, S110 - it was on its way there still
            pass


@task_token_guard(operation_type="bench_number")
def number(value: int) -> int:
    """Return the number after a moment, so that a token runs while others are queued."""
    time.sleep(0.001)
    return value


plain: Final = task_token_guard("bench_plain")(noop)
limited: Final = plain.options(operation_type="bench_limited", timeout=3600)


def _say(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def _begun(function: Any, folder: str, turn: int) -> Any:
    """Return a token of `function` that has begun to run."""
    sign = os.path.join(folder, str(turn))  # noqa: PTH118 - it is asked for all the time
    token = function(sign)
    while not os.path.exists(sign):  # noqa: PTH110 - likewise
        time.sleep(0.001)
    return token


def _kills(function: Any, rounds: int) -> float:
    """Return the seconds from `kill` of a running token to the next result of its core, least."""
    from tokengate_mp.coordinator.coordinator import OperationsCoordinator  # noqa: PLC0415 - late

    least = float("inf")
    with (
        TemporaryDirectory() as folder,
        OperationsCoordinator(cores=1, threads_per_core=1, grace=GRACE),
    ):
        number(0).get()
        for turn in range(rounds):
            token = _begun(function, folder, turn)
            after = number(1)
            begin = time.perf_counter()
            token.kill()
            after.get()
            least = min(least, time.perf_counter() - begin)
    return least


def kill_seconds(rounds: int) -> float:
    """Return how long the kill of a token takes that runs Python."""
    return _kills(spin, rounds)


def stuck_seconds(rounds: int) -> float:
    """Return how long the kill of a token takes that is stuck in C, beyond `grace`."""
    return _kills(stuck, rounds) - GRACE


def replaced_seconds(rounds: int) -> float:
    """Return the least seconds from a SIGKILL of a core's process to the core's next result.

    Raises:
        RuntimeError: Something else was lost than the one token that it ran.
    """
    from tokengate_mp.coordinator.coordinator import OperationsCoordinator  # noqa: PLC0415 - late

    least = float("inf")
    with (
        TemporaryDirectory() as folder,
        OperationsCoordinator(cores=1, threads_per_core=1) as coordinator,
    ):
        number(0).get()
        for turn in range(rounds):
            running = _begun(spin, folder, turn)
            queued = [number(value) for value in range(QUEUED)]
            pid = coordinator.get_stats()["cores"][0]["pid"]
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            queued[0].get(60)
            least = min(least, time.perf_counter() - begin)
            if [token.get(60) for token in queued] != list(range(QUEUED)):
                raise RuntimeError("a token that was queued gave the result of another")
            with suppress(WorkerLost):
                running.get(60)
                raise RuntimeError("the token that was running when it was killed was not lost")
    return least


def guarded_share(tokens: int, cores: int) -> float:
    """Return the time of no-ops with a deadline each, and a limit on all, over that without."""
    from tokengate_mp.coordinator.coordinator import OperationsCoordinator  # noqa: PLC0415 - late

    async def wave(function: Any) -> float:
        begin = time.perf_counter()
        await asyncio.gather(*[function() for _ in range(tokens)])
        return time.perf_counter() - begin

    async def measure() -> float:
        bare = guarded = float("inf")
        for _ in range(ROUNDS):
            async with OperationsCoordinator(cores=cores):
                await wave(plain)
                bare = min(bare, await wave(plain))
            async with OperationsCoordinator(cores=cores, max_pending=2 * tokens, max_rss=1 << 40):
                await wave(limited)
                guarded = min(guarded, await wave(limited))
        return guarded / bare

    return asyncio.run(measure())
