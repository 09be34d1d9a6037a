"""Tokens in the order in which they end."""

from __future__ import annotations

import asyncio

import gates
import pytest
import work

from tokengate_mp import OperationsCoordinator, TokenKilled, as_completed
from tokengate_mp.tokens.observers import observers


def test_each_once_without_a_loop():
    """Every token is given when it has ended, those that had before included."""
    with OperationsCoordinator(cores=2):
        first = work.square(1)
        first.get(20)
        tokens = [first, *(work.square(n) for n in range(5000))]
        ended = list(as_completed([*tokens, first]))
        assert all(token.done() for token in ended)
        assert sorted(token.number for token in ended) == sorted(t.number for t in tokens)
    assert observers == []


def test_in_the_order_of_their_ends():
    """One that is quick is given while one that is not goes on; whatever the end is."""

    async def main():
        async with OperationsCoordinator(cores=2):
            with gates.Gate() as gate:
                slow = work.gated(gate.address)
                killed = work.gated(gate.address, "killed")
                cancelled = work.gated(gate.address, "cancelled")
                quick = work.square(3)
                ends = aiter(as_completed([slow, killed, cancelled, quick]))
                assert await anext(ends) is quick
                killed.kill("enough")
                assert await anext(ends) is killed
                assert isinstance(killed.exception(), TokenKilled)
                cancelled.cancel()
                assert await anext(ends) is cancelled
                gate.close()
                assert await anext(ends) is slow
                with pytest.raises(StopAsyncIteration):
                    await anext(ends)

    asyncio.run(main())
    assert observers == []


def test_tokens_of_another_threads_loop():
    """Tokens made in another loop than the coordinator's are given there, and are done there."""
    with OperationsCoordinator(cores=2):

        async def main():
            tokens = [work.square(n) for n in range(1000)]
            results = [token.result() async for token in as_completed(tokens)]
            assert sorted(results) == [n * n for n in range(1000)]

        asyncio.run(main())


def test_a_result_that_was_set_by_somebody_else():
    """Whoever holds a future can end it, and it is found."""

    async def main():
        async with OperationsCoordinator(cores=1):
            with gates.Gate() as gate:
                token = work.gated(gate.address)
                asyncio.get_running_loop().call_soon(token.set_result, "set")
                assert [each.result() async for each in as_completed([token])] == ["set"]

    asyncio.run(main())


def test_a_timeout():
    """It is over when it is over, and the token goes on."""
    with OperationsCoordinator(cores=1), gates.Gate() as gate:
        token = work.gated(gate.address, "slow")
        with pytest.raises(TimeoutError, match="1 tokens"):
            list(as_completed([token], timeout=0.1))
        gate.close()
        assert token.get(20) == "slow"


def test_for_in_the_tokens_own_loop():
    """It would wait for what the loop has to bring, and says what to write instead."""

    async def main():
        async with OperationsCoordinator(cores=1):
            token = work.square(1)
            with pytest.raises(RuntimeError, match="async for"):
                list(as_completed([token]))

    asyncio.run(main())


def test_something_else_than_tokens():
    """It is refused at once."""
    with pytest.raises(TypeError, match="int"):
        as_completed([3])
