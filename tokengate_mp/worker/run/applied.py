"""Calls whose function travels among the arguments."""

from __future__ import annotations

from collections.abc import Callable


def apply(function: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    """Call `function`: the function of each token whose callable is an argument of the call."""
    return function(*args, **kwargs)
