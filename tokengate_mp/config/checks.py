"""Checks of single values that a user gave; each error names the option and what is allowed."""

from __future__ import annotations

from typing import Any


def seconds(option: str, value: Any, *, zero: bool = True) -> float:
    """A finite number of seconds, from 0 up; above 0 if `zero` is False.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, infinite or NaN; or 0, if that is not allowed.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{option} must be a number of seconds, not {type(value).__name__}")
    if not 0 <= value < float("inf") or not (value or zero):
        allowed = "of seconds from 0 up" if zero else "of seconds, more than 0"
        raise ValueError(f"{option} must be a number {allowed}, not {value!r}")
    return float(value)


def whole(option: str, value: Any, low: int, high: int) -> int:
    """An int from `low` to `high`.

    Raises:
        TypeError: It is no int.
        ValueError: It is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{option} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{option} must be from {low} to {high}, not {value}")
    return value


def one_of(option: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """One of the allowed values.

    Raises:
        ValueError: It is none of them.
    """
    if value not in allowed:
        listed = ", ".join(repr(each) for each in allowed)
        raise ValueError(f"{option} must be one of {listed}, not {value!r}")
    return value
