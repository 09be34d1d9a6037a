"""The workers of an executor: how many, and on which CPUs."""

from __future__ import annotations

from itertools import count
from typing import Final

MAX_WORKERS: Final = 4096

_next_cpu = count()
"""So that executors with few workers each do not all sit on the first CPUs."""


def cpus_of_workers(max_workers: int | None, usable: tuple[int, ...]) -> list[int]:
    """The CPU of each worker."""
    workers = len(usable) if max_workers is None else max_workers
    if isinstance(workers, bool) or not isinstance(workers, int):
        raise TypeError(f"max_workers must be an int, not {type(workers).__name__}")
    if workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    if workers > MAX_WORKERS:
        raise ValueError(f"max_workers must be <= {MAX_WORKERS}")
    if workers >= len(usable):
        return [usable[i % len(usable)] for i in range(workers)]
    # Those of the next such executor come after these.
    return [usable[next(_next_cpu) % len(usable)] for _ in range(workers)]
