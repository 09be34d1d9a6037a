"""`gather`: as asyncio's, with progress."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, overload

from tokengate_mp.bulk.bars import chosen_progress
from tokengate_mp.bulk.completed import as_completed
from tokengate_mp.bulk.meter import Meter
from tokengate_mp.bulk.progress import Wanted
from tokengate_mp.tokens.token import Token

R = TypeVar("R")


@overload
async def gather(
    *tokens: Token[R], progress: Wanted = None, return_exceptions: Literal[False] = False
) -> list[R]: ...


@overload
async def gather(
    *tokens: Token[R], progress: Wanted = None, return_exceptions: bool
) -> list[R | BaseException]: ...


async def gather(
    *tokens: Token[Any], progress: Wanted = None, return_exceptions: bool = False
) -> list[Any]:
    """Wait for tokens as `asyncio.gather` does, and show the progress.

        results = await tokengate_mp.gather(*(f(x) for x in data), progress=True)

    Args:
        tokens: The tokens.
        progress: True or the name of a bar ("rich", "tqdm"), or a `Progress`, which is told about
            ten times a second.
        return_exceptions: Whether errors are given in place of results, instead of raised.

    Returns:
        The results, in the order of the tokens.

    Raises:
        ImportError: The library that draws the bar is not installed.
        TypeError: An argument is no token, or `progress` is none.
        Exception: The error of the first token that fails, or of the progress. The other
            tokens go on, and can be awaited.
    """
    shown = chosen_progress(progress)
    gathered = asyncio.gather(*tokens, return_exceptions=return_exceptions)
    if shown is None:
        return await gathered
    meter = Meter(shown, len(set(tokens)))
    try:
        counting = asyncio.ensure_future(_count(tokens, meter))
        try:
            await asyncio.wait((gathered, counting), return_when=asyncio.FIRST_EXCEPTION)
            if counting.done():
                counting.result()
            return await gathered
        except asyncio.CancelledError:
            gathered.cancel()  # and with it the tokens, as by asyncio's own
            raise
        finally:
            counting.cancel()
            await asyncio.wait((counting,))
            # What nobody waits for any more is nothing to log.
            for left in (counting, gathered):
                left.add_done_callback(_seen)
    finally:
        meter.finish_progress()


async def _count(tokens: Sequence[Token[Any]], meter: Meter) -> None:
    meter.begin_progress()
    async for token in as_completed(tokens):
        meter.count_calls(1, failed=int(token.cancelled() or token.exception() is not None))
        meter.raise_failure()


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
