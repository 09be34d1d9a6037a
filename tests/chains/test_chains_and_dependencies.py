"""Tokens made inside tokens, and tokens as arguments, together."""

from __future__ import annotations

import asyncio

from tokengate_mp import OperationsCoordinator, task_token_guard


@task_token_guard(operation_type="make_square")
def square(number: int) -> int:
    """Give the square."""
    return number * number


@task_token_guard(operation_type="make_pair")
def pair(number: int) -> tuple[int, list[int]]:
    """Give something that no msgpack keeps."""
    return number, [number]


@task_token_guard(operation_type="lead_squares", external_calls=["make_square"])
def lead(count: int) -> list:
    """Return tokens."""
    return [square(n) for n in range(count)]


@task_token_guard(operation_type="pairs")
def pairs(count: int) -> list:
    """Return tokens of no chain."""
    return [pair(n) for n in range(count)]


@task_token_guard(operation_type="add_up")
def add_up(*numbers: int) -> int:
    """Give the sum."""
    return sum(numbers)


@task_token_guard(operation_type="firsts")
def firsts(found: dict) -> list:
    """Give the first of each pair."""
    return [number for number, _ in found["pairs"]]


@task_token_guard(operation_type="nested_sum")
def nested_sum(count: int) -> int:
    """Wait for tokens of one's own."""
    return sum(token.get() for token in [square(n) for n in range(count)])


def test_tokens_that_came_in_a_result_can_be_arguments():
    """Ended or not, scalars or pickled, of a chain or of none: the call gets their values."""

    async def main():
        async with OperationsCoordinator(cores=2):
            squares = await lead(8)
            assert await add_up(*squares) == sum(n * n for n in range(8))
            assert await asyncio.gather(*squares) == [n * n for n in range(8)]
            assert await add_up(*squares) == sum(n * n for n in range(8))
            found = await pairs(5)
            assert await firsts({"pairs": found}) == list(range(5))
            assert await asyncio.gather(*found) == [(n, [n]) for n in range(5)]
            assert await firsts({"pairs": found}) == list(range(5))

    asyncio.run(main())


def test_a_call_that_makes_tokens_can_wait_for_arguments():
    """Its own tokens are made once its arguments are there."""

    async def main():
        async with OperationsCoordinator(cores=1, threads_per_core=1):
            count = add_up(square(2), 1)
            assert await nested_sum(count) == sum(n * n for n in range(5))
            assert await add_up(nested_sum(3), nested_sum(add_up(1, 1))) == 6

    asyncio.run(main())


def test_a_lead_can_wait_for_arguments():
    """Its chain begins when it does, runs on its core, and is over with its last token."""

    async def main():
        async with OperationsCoordinator(cores=2) as c:
            leads = [lead(add_up(square(1), 2)) for _ in range(20)]
            killed = lead(pair(1))
            killed.kill()
            for each in leads:
                squares = await each
                assert await asyncio.gather(*squares) == [0, 1, 4]
                assert {token.core for token in squares} == {each.core}
                assert {token.seed for token in squares} == {each.seed}
            await c.join()
            assert c.get_stats()["conductor"]["domains"] == 0

    asyncio.run(main())
