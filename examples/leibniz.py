"""π by Leibniz's series, as a tree of tokens: those of one stage are arguments of the next.

python examples/leibniz.py            # 200,000 terms
python examples/leibniz.py 1000000
"""

import asyncio
import sys
from collections.abc import Sequence
from decimal import Decimal, localcontext

from tokengate_mp import OperationsCoordinator, Token, task_token_guard

CHUNK = 1_000
GROUP = 100


@task_token_guard(weight="light")
def pi_term(n: int) -> str:
    """Return (-1)^n / (2n + 1) to 50 digits."""
    with localcontext(prec=50):
        return str(Decimal((-1) ** n) / (2 * n + 1))


@task_token_guard(weight="medium")
def add(numbers: Sequence[str | Token[str]]) -> str:
    """Add up to 50 digits; whatever tokens are passed, here they are the strings."""
    with localcontext(prec=50):
        return str(sum(Decimal(str(number)) for number in numbers))


async def main(terms: int) -> None:
    """Sum terms to chunks, chunks to groups, groups to π: nothing is awaited but the last sum."""
    async with OperationsCoordinator():
        stage = [pi_term(n) for n in range(terms)]
        for size in (CHUNK, GROUP):
            stage = [add(stage[n : n + size]) for n in range(0, len(stage), size)]
        quarter = await add(stage)
    with localcontext(prec=50):
        print(f"π ≈ {4 * Decimal(quarter)} after {terms:,} terms")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
