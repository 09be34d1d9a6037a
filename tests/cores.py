"""What tests ask of the cores before they begin."""

from __future__ import annotations

import asyncio
import os
import signal

import work


async def all_up(coordinator, gate) -> None:
    """Return once every core takes tokens, and has none."""
    seen, tokens = set(), []
    while len(seen) < len(coordinator.get_stats()["cores"]):
        # Each waits on a core, and so keeps it from taking the next one.
        token = work.gated.options(operation_type="up", weight="heavy")(gate.address)
        tokens.append(token)
        seen.update(arrival.pid for arrival in await asyncio.to_thread(gate.arrivals))
    gate.open()
    await asyncio.gather(*tokens)


def stop(pid: int) -> None:
    """Stop a child process by SIGSTOP: when this returns, each of its threads has stopped."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
