"""What tokens of the tests do with large arrays. Core processes import it."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path
from typing import Any

import gates
import numpy as np

from tokengate_mp import task_token_guard

KEPT: list[Any] = []
"""What this process looks at on."""


def kind(value: Any) -> tuple[str, Any, bool | None]:
    """Give the type of a value, what is in it, and whether that can be changed."""
    if isinstance(value, np.ndarray):
        return "ndarray", (value.dtype.str, value.shape, float(value.sum())), value.flags.writeable
    if isinstance(value, memoryview):
        return "memoryview", (value.format, value.shape, value.tobytes()), value.readonly is False
    return type(value).__name__, bytes(value), None


@task_token_guard()
def kinds(*values: Any, **named: Any) -> list[Any]:
    """Give the kinds of what arrives."""
    return [kind(value) for value in (*values, *named.values())]


@task_token_guard()
def total(array: Any) -> float:
    """Add up."""
    return float(np.asarray(array).sum())


@task_token_guard()
def ones(count: int) -> Any:
    """Give so many ones."""
    return np.ones(count)


@task_token_guard()
def as_it_is(value: Any) -> Any:
    """Give back what is given."""
    return value


@task_token_guard(writable=True)
def doubled(array: Any) -> Any:
    """Change an argument in place."""
    array *= 2
    return array


@task_token_guard()
def keep(array: Any) -> int:
    """Look at it on after the token has ended."""
    KEPT.append(array)
    return os.getpid()


@task_token_guard()
def sum_of_kept(address: gates.Address | None = None) -> float:
    """Add up what is kept."""
    if address is not None:
        gates.wait_at(address)
    return float(sum(array.sum() for array in KEPT))


@task_token_guard()
def forget() -> int:
    """Look at nothing any more."""
    KEPT.clear()
    return gc.collect()


@task_token_guard()
def hold(address: gates.Address, array: Any) -> float:
    """Wait at a gate with an array."""
    gates.wait_at(address)
    return float(array.sum())


@task_token_guard(idempotent=True)
def dies_once(marker: str, array: Any) -> float:
    """End the process with the first call of it."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(array.sum())


@task_token_guard()
def lead(count: int) -> float:
    """Make tokens with large arguments and results inside a token."""
    array = np.ones(count)
    tokens = [as_it_is(array), ones(count), total(array)]
    return float(sum(np.asarray(token.get()).sum() for token in tokens))


def _through_children(array: Any, rounds: int) -> list[float]:
    """Pass values of tokens on to tokens, and forget the former before the latter have begun."""
    sums = [float(doubled(array).get().sum()), float(doubled(ones(len(array))).get().sum())]
    for _ in range(rounds):
        made = ones(len(array))
        made.get()
        taking = total(made), doubled(made), total(as_it_is(made))
        del made
        ones(len(array)).get()[:1].sum()
        for _ in range(4):  # what is free is written anew by these
            as_it_is(array).get()
        sums += [float(np.sum(token.get())) for token in taking]
    return sums


@task_token_guard()
def through_children(array: Any, rounds: int) -> list[float]:
    """Do so outside of a chain."""
    return _through_children(array, rounds)


@task_token_guard(external_calls=["doubled", "ones", "total", "as_it_is"])
def through_members(array: Any, rounds: int) -> list[float]:
    """Do so in a chain."""
    return _through_children(array, rounds)
