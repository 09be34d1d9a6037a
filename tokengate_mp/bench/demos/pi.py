"""Runs Leibniz's tree: a million small tokens, then those that add up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tokengate_mp.bench.work.leibniz import CHUNK, CHUNKS_PER_PARTIAL
from tokengate_mp.bench.work.tokens import pi_term, sum_chunk, sum_partial, sum_total

TERMS: Final = 1_000_000

_CHUNKS_UNDER_WAY: Final = 64
"""Enough for every core to have work at any time, and few enough that a result shows early."""


async def leibniz_pi(terms: int = TERMS, progress: Callable[[int], None] = lambda _: None) -> str:
    """Return π to 50 significant digits, as the sum of the first `terms` terms of the series.

    Args:
        terms: How many terms; at least one.
        progress: Called with the number of terms that each chunk has added.
    """
    room = asyncio.Semaphore(_CHUNKS_UNDER_WAY)

    async def chunk_of(first: int) -> str:
        async with room:
            indexes = range(first, min(first + CHUNK, terms))
            values = await asyncio.gather(*[pi_term(index) for index in indexes])
            total = await sum_chunk(values)
        progress(len(indexes))
        return total

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(chunk_of(first)) for first in range(0, terms, CHUNK)]
    chunks = [task.result() for task in tasks]
    partials = await asyncio.gather(
        *[
            sum_partial(chunks[first : first + CHUNKS_PER_PARTIAL])
            for first in range(0, len(chunks), CHUNKS_PER_PARTIAL)
        ]
    )
    return await sum_total(partials)


def token_count(terms: int) -> int:
    """Return how many tokens the whole tree has."""
    chunks = -(-terms // CHUNK)
    return terms + chunks + -(-chunks // CHUNKS_PER_PARTIAL) + 1
