"""Probes of what belongs together: chains, tokens that need others, and tokens that share a core.

Each compares with the same work without, in turns in one process, and takes the least of several
times: what another process did meanwhile is no part of either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tokengate_mp.calls.decorator import task_token_guard

ROUNDS: Final = 5
GROUP: Final = 4
"""Children that a lead has at a time, and tokens in each gather that this is held against."""

LAYERS: Final = 4
KEYS: Final = 64


@task_token_guard(operation_type="bench_child")
def child(number: int = 0) -> int:
    """Give the number."""
    return number


@task_token_guard(operation_type="bench_lead", external_calls=["bench_child"])
def lead(children: int, group: int) -> float:
    """Make and get child tokens, `group` at a time: the least seconds for each, of ten parts."""
    part = max(1, children // group // 10)
    least = float("inf")
    for _ in range(10):
        begin = time.perf_counter()
        for _ in range(part):
            tokens = [child(number) for number in range(group)]
            for token in tokens:
                token.get()
        least = min(least, (time.perf_counter() - begin) / part / group)
    return least


@task_token_guard(operation_type="bench_node")
def node(*numbers: int) -> int:
    """Give the first."""
    return numbers[0]


sticky_child: Final = child.options(sticky_anchor="bench")
leading_child: Final = child.options(external_calls=["bench_child"])


def child_cost(children: int) -> float:
    """Return the seconds from the call of a child to its result, inside a lead on its core."""

    async def measure() -> float:
        async with _coordinator(1):
            await lead(1, 1)
            return min([await lead(children, 1) for _ in range(ROUNDS)])

    return asyncio.run(measure())


def chain_share(children: int) -> float:
    """Return the time of children in a chain over that of as many gathered in the parent."""

    async def measure() -> float:
        async with _coordinator(1):
            await lead(GROUP, GROUP)
            chained = gathered = float("inf")
            for _ in range(ROUNDS):
                chained = min(chained, await lead(children, GROUP))
                begin = time.perf_counter()
                for _ in range(children // GROUP):
                    await asyncio.gather(*[child(number) for number in range(GROUP)])
                gathered = min(gathered, (time.perf_counter() - begin) / children)
            return chained / gathered

    return asyncio.run(measure())


def diamond_share(tokens: int, cores: int) -> float:
    """Return the time of tokens in four layers over that of as many that need none.

    Each of a layer needs two of the layer before.
    """
    width = tokens // LAYERS

    async def linked() -> None:
        layer: Sequence[Any] = [node(number) for number in range(width)]
        for _ in range(LAYERS - 1):
            layer = [node(layer[at], layer[at - 1]) for at in range(width)]
        await asyncio.gather(*layer)

    async def plain() -> None:
        await asyncio.gather(*[node(at, at - 1) for at in range(width * LAYERS)])

    return asyncio.run(_share(cores, plain, linked))


def tagged_share(tokens: int, cores: int) -> float:
    """Return the time of no-ops that are all tagged over that of the same without a tag.

    They all have an anchor, or all lead a chain, whichever takes longer.
    """

    def wave(function: Callable[[int], Any]) -> Callable[[], Any]:
        async def run() -> None:
            await asyncio.gather(*[function(at % KEYS) for at in range(tokens)])

        return run

    return asyncio.run(_share(cores, wave(child), wave(sticky_child), wave(leading_child)))


async def _share(cores: int, plain: Callable[[], Any], *others: Callable[[], Any]) -> float:
    """The longest of the others' least times over the least time of the first."""
    least = [float("inf")] * (1 + len(others))
    async with _coordinator(cores):
        for _ in range(ROUNDS + 1):  # the first one is a warm-up as good as any
            for at, run in enumerate((plain, *others)):
                begin = time.perf_counter()
                await run()
                least[at] = min(least[at], time.perf_counter() - begin)
    return max(least[1:]) / least[0]


def _coordinator(cores: int) -> Any:
    # Here: core processes import this module, and need none.
    from tokengate_mp import OperationsCoordinator  # noqa: PLC0415

    return OperationsCoordinator(cores=cores)
