"""The handle of a map: results as they come, with a loop or without one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from itertools import chain
from operator import length_hint
from typing import Any, Final, Generic, TypeVar

import msgspec

from tokengate_mp.bulk.bars import chosen_progress
from tokengate_mp.bulk.feed import Batch, Feed
from tokengate_mp.bulk.meter import Meter, total_of
from tokengate_mp.bulk.pace import Pace
from tokengate_mp.bulk.progress import Wanted
from tokengate_mp.bulk.results import PLAIN, TROUBLED, Raised, opened
from tokengate_mp.bulk.sender import Sender
from tokengate_mp.config.checks import buffered_items
from tokengate_mp.config.options import TokenOptions
from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.locks import new_lock
from tokengate_mp.loops.cross_thread import STOPPED_SECONDS, Bell, heard, is_here

R = TypeVar("R")

BATCHED: Final = ".map"
"""Added to the operation_type of a function, whose batches are counted and measured apart."""


class TokenMap(Generic[R]):
    """The results of a function that is mapped over items.

        async for result in f.map(items): ...       # in an event loop
        for result in f.map(items): ...             # without one
        results = await f.map(items)                # a list

    Items are taken as results are: with each result that is asked for, as many more items are sent
    as keep the cores busy. A map can be gone through once. To stop before the end ends the calls
    under way; `close()` does too.
    """

    def __init__(self, feed: Feed, *, ordered: bool, return_exceptions: bool, meter: Meter) -> None:
        self._feed = feed
        self._meter = meter
        self._ordered = ordered
        self._return_exceptions = return_exceptions
        self._used = False
        self._list: asyncio.Task[list[R]] | None = None
        feed.fill()

    def __iter__(self) -> Iterator[R]:
        self._use()
        return synchronously(
            self._feed,
            ordered=self._ordered,
            return_exceptions=self._return_exceptions,
            meter=self._meter,
        )

    def __aiter__(self) -> AsyncIterator[R]:
        self._use()
        return self._asynchronously()

    def __await__(self) -> Generator[Any, None, list[R]]:
        """Wait for all results; a list, in the order of the items if that is to be kept."""
        if self._list is None:
            self._use()
            self._list = asyncio.get_running_loop().create_task(self._all())
        return self._list.__await__()

    def close(self) -> None:
        """End the map: calls under way are withdrawn, and nothing more is sent."""
        self._feed.stop_feed(CoordinatorNotRunning("this map was closed before its end"))

    def _use(self) -> None:
        if self._used:
            raise RuntimeError("a map can be gone through once; keep its results, or map again")
        self._used = True

    async def _asynchronously(self) -> AsyncIterator[R]:
        feed, meter = self._feed, self._meter
        try:
            async for batch in self._batches(ordered=self._ordered):
                values, kind = opened(batch, feed.name)
                meter.count_calls(batch.count, _failed(values, kind))
                values.reverse()
                while values:  # and keep none that was given
                    value = values.pop()
                    yield _plain(value, self._return_exceptions) if kind == TROUBLED else value
                    del value
                feed.count_given(batch.count)
        finally:
            feed.stop_feed()
            meter.finish_progress()

    async def _all(self) -> list[R]:
        feed, meter, parts = self._feed, self._meter, {}
        try:
            async for batch in self._batches(ordered=False):
                values, kind = opened(batch, feed.name)
                meter.count_calls(batch.count, _failed(values, kind))
                if kind == TROUBLED:
                    values = [_plain(value, self._return_exceptions) for value in values]
                parts[batch.first] = values
                feed.count_given(batch.count)
        finally:
            feed.stop_feed()
            meter.finish_progress()
        results: list[R] = []
        for first in sorted(parts) if self._ordered else parts:
            results += parts[first]
        return results

    async def _batches(self, *, ordered: bool) -> AsyncIterator[Batch]:
        feed, loop, news = self._feed, asyncio.get_running_loop(), asyncio.Event()

        def ring() -> None:
            try:
                loop.call_soon_threadsafe(news.set)
            except RuntimeError:  # it is closed: nobody is left who waits
                return

        feed.bell = ring
        meter = self._meter
        meter.begin_progress()
        while True:
            meter.raise_failure()
            news.clear()
            batch, more = _next(feed, ordered=ordered)
            if batch is not None:
                yield batch
            elif feed.is_over():
                return
            elif more:
                await asyncio.sleep(0)  # others want the loop
            # Not for ever: to see whether the coordinator's loop is still there.
            elif not await heard(news, STOPPED_SECONDS):
                meter.tell_if_due()


def synchronously(
    feed: Feed,
    *,
    ordered: bool,
    return_exceptions: bool = False,
    timeout: float | None = None,
    meter: Meter | None = None,
) -> Iterator[Any]:
    """Give the results of a feed, waiting for results in the calling thread.

    Args:
        feed: The feed.
        ordered: Whether results come in the order of the items.
        return_exceptions: Whether errors are given like results.
        timeout: Seconds from now in which all results have to be there; None for as long as it
            takes.
        meter: Counts results that are given.

    Raises:
        TimeoutError: Some results were not there in time.
        RuntimeError: The calling thread runs the event loop that the results have to arrive in.
        Exception: What the function raised.
    """
    # Here, not in the generator, which begins with the first result that is asked for.
    deadline = None if timeout is None else time.monotonic() + timeout
    turns = BatchTurns(
        _by_batch(
            feed,
            Meter(None, None) if meter is None else meter,
            ordered=ordered,
            return_exceptions=return_exceptions,
            deadline=deadline,
        )
    )
    return Results(turns)


class BatchTurns(Iterator[Iterator[Any]]):
    """Hands out batches of results, each when the results of the last batch have been given.

    Several threads may take results: each result goes to a single thread.

    Args:
        batches: The results batch by batch. (Of each, as many as its `length_hint` are left.)
    """

    def __init__(self, batches: Generator[Iterator[Any], None, None]) -> None:
        self.batches = batches
        self._given: Iterator[Any] = iter(())
        # By the same thread again: what it takes items from may take from these results.
        self._one_at_a_time = new_lock()

    def __next__(self) -> Iterator[Any]:
        with self._one_at_a_time:
            if not length_hint(self._given):
                self._given = next(self.batches)
            return self._given


class Results(Iterator[Any]):
    """Results, each by itself; to be closed like the generator of a standard executor's map."""

    def __init__(self, turns: BatchTurns) -> None:
        self._turns = turns
        self._each = iter(self)

    def __iter__(self) -> Iterator[Any]:  # noqa: PYI034 - not itself
        # Several times as fast as this, and as a generator, which would go on for each. Another one
        # each time, as threads must not share what is written in C; together they give each once.
        return chain.from_iterable(self._turns)

    def __next__(self) -> Any:
        return next(self._each)

    def close(self) -> None:
        """Give no more results, and end calls under way."""
        self._turns.batches.close()


class Releasing(Iterator[Any]):
    """Gives results, and keeps no result that was given: results may be large."""

    def __init__(self, values: list[Any]) -> None:
        values.reverse()
        self._values = values

    def __length_hint__(self) -> int:
        return len(self._values)

    def __next__(self) -> Any:
        try:
            return self._values.pop()
        except IndexError:
            raise StopIteration from None


def _by_batch(
    feed: Feed, meter: Meter, *, ordered: bool, return_exceptions: bool, deadline: float | None
) -> Generator[Iterator[Any], None, None]:
    """Give results batch by batch, each when the last batch has been given."""
    if is_here(feed.sender.loop):
        raise RuntimeError(
            "`for` would stop the event loop that the results have to arrive in; "
            "use `async for` or `await` here"
        )
    news = Bell()
    feed.bell = news.ring
    values: list[Any] = []
    try:
        meter.begin_progress()
        while True:
            meter.raise_failure()
            batch, more = _next(feed, ordered=ordered)
            if batch is not None:
                values, kind = opened(batch, feed.name)
                meter.count_calls(batch.count, _failed(values, kind))
                if kind == TROUBLED:  # raised here, where it is the end
                    values.reverse()
                    while values:
                        yield iter((_plain(values.pop(), return_exceptions),))
                else:
                    yield iter(values) if kind == PLAIN else Releasing(values)
                feed.count_given(batch.count)
            elif feed.is_over():
                return
            else:
                left = STOPPED_SECONDS if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the results were not all there in the time they had")
                if not more and not news.wait(min(left, STOPPED_SECONDS)):
                    meter.tell_if_due()
    finally:
        values.clear()  # nothing is given after a close
        feed.stop_feed()
        meter.finish_progress()


def _next(feed: Feed, *, ordered: bool) -> tuple[Batch | None, bool]:
    """Take the next batch that has arrived, if any; and whether there is more to be sent."""
    batch, more = feed.take_batch(ordered=ordered), False
    try:
        more = feed.fill(hurried=batch is not None)
    except CoordinatorNotRunning:
        if batch is None:
            raise
    return batch, more


def _failed(values: list[Any], kind: int) -> int:
    """Count the missing results of a batch."""
    return sum(type(value) is Raised for value in values) if kind == TROUBLED else 0


def _plain(value: Any, return_exceptions: bool) -> Any:  # noqa: FBT001 - called for each item
    if type(value) is Raised:  # (`__class__` of a result may be anything)
        if return_exceptions:
            return value.error
        raise value.error
    return value


def token_map(  # noqa: PLR0913 - the options of a map, each with a name
    sender: Sender,
    function: Callable[..., Any],
    options: TokenOptions,
    iterables: tuple[Iterable[Any], ...],
    *,
    ordered: bool,
    buffersize: int | None,
    return_exceptions: bool,
    progress: Wanted = None,
) -> TokenMap[Any]:
    """Map a function over items.

    Args:
        sender: Where calls are taken in.
        function: The plain function.
        options: How its tokens are treated.
        iterables: As for the built-in `map`.
        ordered: Whether results come in the order of the items.
        buffersize: The most items that may be taken and not given back as results.
        return_exceptions: Whether errors are given like results.
        progress: As for `TokenFunction.map`.

    Raises:
        ImportError: The library that draws the bar is not installed.
        TypeError: There is nothing to map over, or an argument has the wrong type.
        ValueError: `buffersize` is out of range, or the function has a timeout or retries.
        CoordinatorNotRunning: The coordinator was stopped.
        PayloadError: The function cannot be sent.
    """
    if not iterables:
        raise TypeError("map() needs something to map over")
    meter = Meter(chosen_progress(progress), total_of(iterables) if progress else None)
    feed = Feed(
        sender,
        function,
        batched(options),
        iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False),
        width=len(iterables),
        pace=Pace(),
        buffersize=buffered_items(buffersize),
    )
    return TokenMap(feed, ordered=ordered, return_exceptions=return_exceptions, meter=meter)


def batched(options: TokenOptions) -> TokenOptions:
    """Make the options of a function's batches.

    Raises:
        ValueError: Some options have no meaning for items of a batch.
    """
    policy = options.policy
    if policy.timeout_ns is not None or policy.retries:
        raise ValueError(
            f"{options.operation_type!r} has a timeout or retries, which are for a token, and many "
            "items of a map share one; map `f.options(timeout=None, retries=0)`, or make a token "
            "of each item"
        )
    if policy.breaker is not None:
        raise ValueError(
            f"{options.operation_type!r} has a breaker, which judges tokens, and many items of a "
            "map share one; map `f.options(breaker=None)`, or make a token of each item"
        )
    if policy.max_running is not None:  # batches and tokens together are limited
        policy = msgspec.structs.replace(policy, of=options.operation_type)
    return msgspec.structs.replace(
        options, operation_type=options.operation_type + BATCHED, policy=policy
    )
