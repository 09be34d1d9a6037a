"""Calls whose function travels among the arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

R = TypeVar("R")


def apply(function: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    """Call `function`: the function of each token whose callable is an argument of the call."""
    return function(*args, **kwargs)


def apply_each(function: Callable[..., R], /, rows: Iterable[tuple[object, ...]]) -> list[R]:
    """Call `function` with each row of arguments."""
    return [function(*row) for row in rows]
