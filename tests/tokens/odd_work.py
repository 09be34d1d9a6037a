"""Decorated functions that raise or return what is up to no good in the caller's process."""

from __future__ import annotations

from typing import Any

from tokengate_mp import task_token_guard


class Faceless(Exception):
    """An exception of which nothing can be read."""

    def __getattribute__(self, name: str) -> Any:
        if name in {"__reduce_ex__", "__reduce__", "__dict__", "args", "__getstate__"}:
            return super().__getattribute__(name)
        raise SystemExit(name)

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Masked(Exception):
    """An exception whose class is what it must not be."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise KeyboardInterrupt


class Unloadable:
    """A value whose loading raises."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return _raise, (self.kind,)


def _raise(kind: type[BaseException]) -> None:
    raise kind("while it is loaded")


@task_token_guard(operation_type="odd")
def odd(number: int) -> Any:
    """Give a list; and now and then something odd."""
    if number == 40:
        raise Faceless("a")
    if number == 60:
        raise Masked("b")
    if number == 80:
        return Unloadable(KeyboardInterrupt)
    if number == 100:
        return Unloadable(SystemExit)
    return [number]
