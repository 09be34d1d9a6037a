"""Checks of single values that a user gave; each error names the option and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def seconds(option: str, value: Any, *, zero: bool = True) -> float:
    """Check a finite number of seconds, from 0 up; above 0 if `zero` is False.

    Raises:
        TypeError: The value is no number.
        ValueError: The value is negative, infinite or NaN; or 0, if that is not allowed.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{option} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value < float("inf") or not (value or zero):
        allowed = "of seconds from 0 up" if zero else "of seconds, more than 0"
        raise ValueError(f"{option} must be a number {allowed}, not {value!r}")
    return float(value)


def whole(option: str, value: Any, low: int, high: int) -> int:
    """Check an int from `low` to `high`.

    Raises:
        TypeError: The value is no int.
        ValueError: The value is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{option} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{option} must be from {low} to {high}, not {value}")
    return value


def buffered_items(buffersize: int | None) -> int | None:
    """Check the `buffersize` of a map.

    Raises:
        TypeError: The value is no int.
        ValueError: The value is below 1.
    """
    if buffersize is None:
        return None
    if isinstance(buffersize, bool) or not isinstance(buffersize, int):
        raise TypeError(f"buffersize must be an integer or None, not {type(buffersize).__name__}")
    if buffersize < 1:
        raise ValueError(f"buffersize must be None or > 0, not {buffersize}")
    return buffersize


def one_of(option: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """Check that the value is among the allowed values.

    Raises:
        ValueError: The value is not allowed.
    """
    if value not in allowed:
        listed = ", ".join(repr(each) for each in allowed)
        raise ValueError(f"{option} must be one of {listed}, not {value!r}")
    return value


def truth(option: str, value: Any) -> bool:
    """Check a bool.

    Raises:
        TypeError: The value is no bool.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{option} must be a bool, not {type(value).__name__}")
    return value


def optional(check: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """A check that lets None pass, and is otherwise `check`."""
    return lambda option, value: None if value is None else check(option, value)


def text(option: str, value: Any) -> str:
    """Check a str.

    Raises:
        TypeError: The value is no str.
    """
    if not isinstance(value, str):
        raise TypeError(f"{option} must be a str, not {type(value).__name__}")
    return value
