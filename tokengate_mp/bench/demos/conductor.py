"""The hash conductor at work: leads whose children stay with them."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tokengate_mp.calls.decorator import task_token_guard

if TYPE_CHECKING:
    from tokengate_mp import OperationsCoordinator

LEADS: Final = 3
CHILDREN: Final = 4
SECONDS: Final = 0.15
"""How long each child sleeps."""


@task_token_guard(operation_type="conductor_child")
def child(number: int) -> tuple[int, int]:
    """Sleep; the square, and the process."""
    time.sleep(SECONDS)
    return number * number, os.getpid()


@task_token_guard(operation_type="conductor_lead", external_calls=["conductor_child"])
def lead(number: int) -> list[Any]:
    """Make the child tokens, and return all to the caller."""
    return [child(number * 100 + i) for i in range(CHILDREN)]


@dataclass(frozen=True, slots=True)
class Chain:
    """Core, seed and results of a chain that has ended."""

    core: int | None
    seed: str
    squares: tuple[int, ...]
    processes: int
    """How many processes its children ran in."""
    seeds: int
    """How many different seeds its children had."""
    right: bool
    """Whether every square is."""

    @property
    def together(self) -> bool:
        """Whether all ran in the same process, with the same seed and right results."""
        return self.right and self.processes == self.seeds == 1


async def run_chains(coordinator: OperationsCoordinator) -> tuple[list[Chain], int]:
    """Run all chains at once; return each chain, and how many are still registered after."""
    leads = [lead(number) for number in range(1, LEADS + 1)]
    made = await asyncio.gather(*leads)
    chains: list[Chain] = []
    for number, (token, children) in enumerate(zip(leads, made, strict=True), 1):
        results: list[tuple[int, int]] = await asyncio.gather(*children)
        squares = tuple(square for square, _ in results)
        seeds = {each.seed for each in children} | {token.seed}
        chains.append(
            Chain(
                token.core,
                token.seed or "",
                squares,
                len({pid for _, pid in results}),
                len(seeds),
                squares == tuple((number * 100 + i) ** 2 for i in range(CHILDREN)),
            )
        )
    await coordinator.join()
    return chains, coordinator.get_stats()["conductor"]["domains"]
