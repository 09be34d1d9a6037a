"""Four kinds of small work, mixed, on every core: decorate, call, gather.

    python examples/mix.py            # 65,536 tokens
    python examples/mix.py 1000

It needs no `if __name__ == "__main__":` guard, and the functions may stand in the script itself.
"""

import asyncio
import hashlib
import random
import sys
import time
from typing import Any

from tokengate_mp import OperationsCoordinator, Token, task_token_guard


@task_token_guard(operation_type="cpu_crunch", tags={"weight": "light"})
def cpu_crunch(limit: int) -> int:
    """Sum the primes below `limit`."""
    return sum(n for n in range(2, limit) if all(n % d for d in range(2, int(n**0.5) + 1)))


@task_token_guard(operation_type="string_transform", tags={"weight": "light"})
def string_transform(seed: int) -> str:
    """Shuffle some letters and turn them around."""
    letters = random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz", k=300)
    return "".join(reversed(letters)).upper().replace("A", "4").replace("E", "3")


@task_token_guard(operation_type="data_sort", tags={"weight": "medium"})
def data_sort(size: int) -> list[int]:
    """Sort random numbers."""
    return sorted(random.Random(size).choices(range(1_000_000), k=size))


@task_token_guard(operation_type="hash_chain", tags={"weight": "heavy"})
def hash_chain(seed: str, iterations: int) -> str:
    """Hash a text over and over."""
    digest = seed
    for _ in range(iterations):
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return digest


def token(i: int) -> Token[Any]:
    """Make one of the four, each a little different."""
    if i % 4 == 0:
        return cpu_crunch(60 + i % 25)
    if i % 4 == 1:
        return string_transform(i * 31)
    if i % 4 == 2:
        return data_sort(400 + i % 300)
    return hash_chain(f"wave_seed_{i}", 120 + i % 80)


async def main(count: int) -> None:
    """Run `count` tokens and say how long it took."""
    async with OperationsCoordinator() as coordinator:
        begin = time.perf_counter()
        results = await asyncio.gather(*(token(i) for i in range(count)))
        seconds = time.perf_counter() - begin
        cores = coordinator.get_stats()["cores"]
    print(f"{len(results):,} results in {seconds:.2f} s, {len(results) / seconds:,.0f} a second")
    for core in cores:
        print(f"  core {core['core']}: {core['completed']:,} tokens")


asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 65_536))
