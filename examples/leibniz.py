"""π by Leibniz's series, as a tree of tokens: results of one stage are arguments of the next.

python examples/leibniz.py            # 200,000 terms
python examples/leibniz.py 1000000
"""

import asyncio
import sys
from decimal import Decimal, localcontext

from tokengate_mp import OperationsCoordinator, task_token_guard

CHUNK = 1_000
GROUP = 100


@task_token_guard(weight="light")
def pi_term(n: int) -> str:
    """Return (-1)^n / (2n + 1) to 50 digits."""
    with localcontext(prec=50):
        return str(Decimal((-1) ** n) / (2 * n + 1))


@task_token_guard(weight="medium")
def add(numbers: list[str]) -> str:
    """Add up to 50 digits."""
    with localcontext(prec=50):
        return str(sum(map(Decimal, numbers)))


async def chunk(first: int, end: int) -> str:
    """Sum the terms from `first` to before `end`, each a token of its own."""
    return await add(await asyncio.gather(*(pi_term(n) for n in range(first, end))))


async def main(terms: int) -> None:
    """Sum terms to chunks, chunks to groups, groups to π."""
    async with OperationsCoordinator():
        starts = range(0, terms, CHUNK)
        chunks = await asyncio.gather(*(chunk(n, min(n + CHUNK, terms)) for n in starts))
        groups = [chunks[n : n + GROUP] for n in range(0, len(chunks), GROUP)]
        quarter = await add(await asyncio.gather(*(add(group) for group in groups)))
    with localcontext(prec=50):
        print(f"π ≈ {4 * Decimal(quarter)} after {terms:,} terms")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
