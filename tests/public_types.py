"""What a type checker sees of the public names: checked by mypy and pyright, never run.

A line that must be refused carries an ignore for each checker, and both report an ignore that
nothing needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from typing import assert_type

from tokengate_mp import (
    OperationsCoordinator,
    Progress,
    Token,
    TokenGateExecutor,
    TokenMap,
    TokenState,
    as_completed,
    gather,
    task_token_guard,
)


@task_token_guard(operation_type="hash", tags={"weight": "heavy"})
def hash_chain(seed: str, iterations: int = 1) -> str:
    """A decorated function."""
    return seed * iterations


@task_token_guard()
def squares(numbers: list[int]) -> list[int]:
    """One decorated with every default."""
    return [number * number for number in numbers]


def plain(number: int, *, factor: float) -> float:
    """One that is not decorated."""
    return number * factor


def calls() -> None:
    """A call takes the function's arguments and gives a token of its result."""
    assert_type(hash_chain("seed", 3), Token[str])
    assert_type(hash_chain("seed", iterations=3), Token[str])
    assert_type(squares([1, 2]), Token[list[int]])
    assert_type(hash_chain.__wrapped__("seed", 3), str)
    assert_type(hash_chain.options(timeout=1.0)("seed", 3), Token[str])

    hash_chain(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    hash_chain()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    hash_chain("seed", rounds=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def tokens(token: Token[str]) -> None:
    """A token knows the type of what it resolves to."""
    assert_type(token.get(), str)
    assert_type(token.get(timeout=1.0), str)
    assert_type(token.token_id, str)
    assert_type(token.state, TokenState)
    assert_type(token.core, int | None)
    assert_type(token.seed, str | None)


async def results() -> None:
    """Awaiting gives the function's own result, by itself and gathered."""
    async with OperationsCoordinator(cores=2) as coordinator:
        assert_type(coordinator, OperationsCoordinator)
        assert_type(await hash_chain("seed", 3), str)
        assert_type(await asyncio.gather(hash_chain("a"), squares([1])), tuple[str, list[int]])
        assert_type(await asyncio.gather(*[hash_chain("a")]), list[str])
        assert_type(await asyncio.wait_for(squares([1]), 1), list[int])

        assert_type(coordinator.submit(plain, 2, factor=0.5), Token[float])
        coordinator.submit(plain, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def synchronously() -> None:
    """The coordinator is a context manager of plain code as well."""
    with OperationsCoordinator() as coordinator:
        assert_type(coordinator, OperationsCoordinator)


async def maps() -> None:
    """A map knows the type of its results, however it is gone through."""
    async with OperationsCoordinator() as coordinator:
        assert_type(hash_chain.map(["a"]), TokenMap[str])
        assert_type(await hash_chain.map(["a"], [1]), list[str])
        async for result in squares.map([[1]]):
            assert_type(result, list[int])
        for length in coordinator.map(len, ["a"]):
            assert_type(length, int)
        async for token in as_completed([hash_chain("a")]):
            assert_type(token, Token[str])


class Silent:
    """A progress of the user's own."""

    def start(self, total: int | None) -> None:
        """Begin."""

    def advance(self, count: int, failed: int) -> None:
        """Go on."""

    def finish(self) -> None:
        """End."""


async def progress() -> None:
    """Whoever gathers or maps may be shown how far it has got."""
    progress: Progress = Silent()
    assert_type(await gather(hash_chain("a"), progress=progress), list[str])
    assert_type(
        await gather(hash_chain("a"), progress=True, return_exceptions=True),
        list[str | BaseException],
    )
    assert_type(hash_chain.map(["a"], progress="tqdm"), TokenMap[str])


def executors() -> None:
    """An executor's futures know the type of their results."""
    with TokenGateExecutor(max_workers=2) as executor:
        assert_type(executor, TokenGateExecutor)
        assert_type(executor.submit(len, "a"), Future[int])
        assert_type(executor.map(len, ["a"]), Iterator[int])
