"""What is done with large arrays: plain functions, as in `workloads`, for those who have numpy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MEBIBYTE = 1 << 20


@lru_cache(maxsize=2)
def array_of(mebibytes: int) -> Any:
    """Return an array of ones, float64; the same one each time."""
    import numpy as np  # noqa: PLC0415 - optional

    return np.ones(mebibytes * MEBIBYTE // 8)


def add_up(array: Any) -> float:
    """Return the sum of an array: each byte of it is read."""
    return float(array.sum())


def ends_of(array: Any) -> float:
    """Return the sum of the first and the last number: what is measured is the way."""
    return float(array[0] + array[-1])
