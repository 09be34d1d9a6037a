"""What is done with large arrays: plain functions, as in `workloads`, for those who have numpy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

MEBIBYTE = 1 << 20


@lru_cache(maxsize=2)
def array_of(mebibytes: int) -> Any:
    """Return an array filled with 1.0, float64; the same object each time."""
    import numpy as np  # noqa: PLC0415 - optional

    return np.ones(mebibytes * MEBIBYTE // 8)


def add_up(array: Any) -> float:
    """Return the sum of an array, having read each of its bytes."""
    return float(array.sum())


def ends_of(array: Any) -> float:
    """Return the sum of the first and the last number; nearly all of the time is the way."""
    return float(array[0] + array[-1])
