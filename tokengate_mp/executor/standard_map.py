"""`map` as the standard executors have it: by `submit`, a chunk of items each time.

An executor's own map goes past `submit`. Where `submit` is another one, by a subclass or set on the
executor itself (as tqdm's `process_map` does to count what has ended), whoever has put it there
expects that `map` calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

R = TypeVar("R")


def map_by_submit(  # noqa: PLR0913 - those of `Executor.map`
    executor: Executor,
    fn: Callable[..., R],
    iterables: tuple[Iterable[Any], ...],
    *,
    call_each: Callable[[Callable[..., R], list[tuple[Any, ...]]], list[R]],
    timeout: float | None,
    chunksize: int,
    buffersize: int | None,
) -> Iterator[R]:
    """Call `fn` for each item, by the executor's `submit`; the results in order.

    Args:
        executor: The executor.
        fn: The function.
        iterables: As for the built-in `map`.
        call_each: Calls `fn` with each row of a chunk, in a core process.
        timeout: Seconds from now in which all results have to be there.
        chunksize: How many items go with each `submit`.
        buffersize: The most chunks that are submitted and not given back as results; None for all.

    Raises:
        TypeError: There is a `buffersize`, and Python's own executors have none yet.
    """
    options: dict[str, Any] = {} if buffersize is None else {"buffersize": buffersize}
    if chunksize == 1:
        return Executor.map(executor, fn, *iterables, timeout=timeout, **options)
    chunks = _chunks(zip(*iterables, strict=False), chunksize)
    lists = Executor.map(executor, partial(call_each, fn), chunks, timeout=timeout, **options)
    return chain.from_iterable(lists)


def _chunks(rows: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(islice(rows, size)):
        yield chunk
