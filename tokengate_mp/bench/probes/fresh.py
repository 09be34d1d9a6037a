"""Probes that need an interpreter of their own: start-up, and memory.

In a process that has run other rows, modules are loaded, pools of free memory stand ready, and a
figure says little about a user's script. So `in_fresh_interpreter` runs each of these functions in
a new process. The call goes there and its result comes back as JSON, over pipes.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import psutil

from tokengate_mp.bench.measuring.competitors import COMPETITORS, OURS, UNDER_JOBLIB, TokengateMp
from tokengate_mp.bench.probes import endings, locality
from tokengate_mp.bench.work.workloads import noop

STARTERS: Final = (OURS, "PPE", "Pool", "loky", "pebble", "joblib")
"""Competitors that have something to start."""


def in_fresh_interpreter(probe: str, *arguments: Any) -> Any:
    """Run the probe of that name in a newly started interpreter and return its result.

    Raises:
        ProbeError: It failed there; the message is its traceback.
    """
    done = subprocess.run(
        [sys.executable, "-c", f"import {__name__} as fresh; fresh.answer()"],
        input=json.dumps([probe, *arguments]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProbeError(f"{probe} failed in a fresh interpreter:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def answer() -> None:
    """Run the probe that standard input asks for and write its result to standard output."""
    probe, *arguments = json.loads(sys.stdin.read())
    result = {each.__name__: each for each in PROBES}[probe](*arguments)
    sys.stdout.write(json.dumps(result) + "\n")


_WARM_UP: Final = 256


class ProbeError(Exception):
    """A probe failed in its own interpreter."""


def start_up(name: str, cores: int, under_joblib: bool = False) -> dict[str, float]:  # noqa: FBT001, FBT002 - it comes as JSON
    """Return the seconds from nothing to `opened` (calls are taken) and to the `first` result.

    The modules that its users import by hand are loaded before the clock starts; what it loads by
    itself on starting counts.
    """
    competitor = (UNDER_JOBLIB if under_joblib else COMPETITORS)[name]()
    call = (competitor.callable_for(noop), ())

    async def measure() -> dict[str, float]:
        begin = time.perf_counter()
        await competitor.open(cores)
        try:
            opened = time.perf_counter() - begin
            await competitor.one(call)
            return {"opened": opened, "first": time.perf_counter() - begin}
        finally:
            await competitor.close()

    return asyncio.run(measure())


def waiting_memory(name: str, cores: int, tokens: int) -> dict[str, float]:
    """Return the parent's memory per waiting no-op token, in bytes, as `rss` and `blocks`.

    `rss` is the growth of the resident set while the tokens are made, over their number: all that
    the operating system had to give, the list that holds them included. `blocks` is the number of
    memory blocks that Python allocated for each. The event loop does not turn meanwhile, so all
    but the first few wait in the parent. The asyncio limit is a bare future, for scale.
    """
    competitor = COMPETITORS[name]()
    function: Any = competitor.callable_for(noop)
    process = psutil.Process()

    async def measure() -> dict[str, float]:
        make = function if name == OURS else asyncio.get_running_loop().create_future
        await competitor.open(cores)
        try:
            await competitor.run([(function, ())] * _WARM_UP)
            gc.collect()
            rss, blocks = process.memory_info().rss, sys.getallocatedblocks()
            waiting = [make() for _ in range(tokens)]
            grown = process.memory_info().rss - rss
            made = sys.getallocatedblocks() - blocks
            if name == OURS:
                await asyncio.gather(*waiting)  # they were tokens like any other
            return {"rss": grown / tokens, "blocks": made / tokens}
        finally:
            await competitor.close()

    return asyncio.run(measure())


def growth(cores: int, waves: int, tokens: int) -> dict[str, Any]:
    """Run `waves` equal waves of no-ops; return the memory of parent and cores after each wave.

    Lists with one entry a wave: `own` and `cores_own`, the bytes that no other process shares with
    the parent and with the cores (the rings are shared, and become resident page by page as they
    are first gone through); `blocks` allocated by Python in the parent; its `descriptors` and
    `threads`. Beside them what `growth_figures` makes of it.
    """
    ours = TokengateMp()
    call = (ours.callable_for(noop), ())
    parent = psutil.Process()
    held: dict[str, list[int]] = {
        key: [] for key in ("own", "cores_own", "blocks", "descriptors", "threads")
    }

    async def measure() -> None:
        await ours.open(cores)
        try:
            for _ in range(waves):
                await ours.run([call] * tokens)
                gc.collect()
                children = parent.children(recursive=True)
                held["own"].append(parent.memory_full_info().uss)
                held["cores_own"].append(sum(child.memory_full_info().uss for child in children))
                held["blocks"].append(sys.getallocatedblocks())
                held["descriptors"].append(parent.num_fds())
                held["threads"].append(parent.num_threads())
        finally:
            await ours.close()

    asyncio.run(measure())
    return {**held, **growth_figures(held, tokens)}


def growth_figures(held: dict[str, list[int]], tokens: int) -> dict[str, float]:
    """Return the growth per token, as `bytes_per_token` and, in the parent, `blocks_per_token`.

    The first quarter of the waves may fill caches and histories of fixed size. From there on the
    most that was held in a quarter is compared with the most in the last one: what a process holds
    after a wave goes up and down by an arena of Python's allocator, 1 MiB, and which of the two it
    is more often is chance.

    Args:
        held: What `growth` found, over four waves or more.
        tokens: Tokens in each wave.
    """
    waves = len(held["own"])
    quarter = waves // 4
    between = (waves - 2 * quarter) * tokens

    def grown(key: str) -> float:
        settled, last = held[key][quarter : 2 * quarter], held[key][-quarter:]
        return max(last) - max(settled)

    return {
        "bytes_per_token": (grown("own") + grown("cores_own")) / between,
        "blocks_per_token": grown("blocks") / between,
    }


PROBES: Final[tuple[Callable[..., Any], ...]] = (
    start_up,
    waiting_memory,
    growth,
    locality.child_cost,
    locality.chain_share,
    locality.diamond_share,
    locality.tagged_share,
    endings.kill_seconds,
    endings.stuck_seconds,
    endings.replaced_seconds,
    endings.guarded_share,
)
