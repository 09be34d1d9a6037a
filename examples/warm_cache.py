"""A cache in each core process, found again with `sticky_anchor`, against the same work without.

    python examples/warm_cache.py         # 24 books, asked 20 times each
    python examples/warm_cache.py 6 5

Each question about a book needs an index of it, which takes a while to build. The core process
that has built it keeps it; but only a question that comes to the same core finds it there.
"""

import asyncio
import random
import sys
import time
from collections import Counter

from tokengate_mp import OperationsCoordinator, task_token_guard

shelf: dict[int, Counter[int]] = {}


def index_of(book: int) -> Counter[int]:
    """Read a book; only the latest sixteen are kept in memory."""
    if book not in shelf:
        if len(shelf) == 16:
            del shelf[next(iter(shelf))]
        shelf[book] = Counter(random.Random(book).choices(range(1_000), k=250_000))
    return shelf[book]


@task_token_guard(operation_type="ask_anywhere")
def ask_anywhere(book: int) -> int:
    """Find the most frequent word of a book, on whichever core has room."""
    return index_of(book).most_common(1)[0][0]


@task_token_guard(operation_type="ask_warm", sticky_anchor="book", sticky_for=60)
def ask_warm(book: int) -> int:
    """Find it where the same book was asked for before."""
    return index_of(book).most_common(1)[0][0]


def _up(coordinator: OperationsCoordinator) -> bool:
    """Whether every core process runs: the time to start them is not to be counted."""
    return all(core["alive"] for core in coordinator.get_stats()["cores"])


async def main(books: int, times: int) -> None:
    """Ask about all books, each so many times, in no order, in both ways."""
    questions = random.Random(1).sample(range(books), k=books * times, counts=[times] * books)
    found: list[list[int]] = []
    for title, ask in (("anywhere", ask_anywhere), ("warm", ask_warm)):
        async with OperationsCoordinator() as coordinator:
            while not _up(coordinator):  # noqa: ASYNC110 - an example that measures may look
                await asyncio.sleep(0.01)
            begin = time.perf_counter()
            tokens = [ask(book) for book in questions]
            found.append(await asyncio.gather(*tokens))
            seconds = time.perf_counter() - begin
            worked = sum((t.timing.finished or 0) - (t.timing.started or 0) for t in tokens) / 1e9
            pins = coordinator.get_stats()["sticky"]["pins"]
        print(
            f"{title}: {len(questions)} answers in {seconds:.2f} s, "
            f"{worked:.2f} s of work, {pins} books pinned"
        )
    assert found[0] == found[1]


books = int(sys.argv[1]) if len(sys.argv) > 1 else 24
times = int(sys.argv[2]) if len(sys.argv) > 2 else 20
asyncio.run(main(books, times))
