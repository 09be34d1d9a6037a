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


class Untraced(Exception):
    """An exception that gives no traceback and takes none."""

    def with_traceback(self, at: object) -> Any:
        raise ValueError(at)

    @property  # type: ignore[misc]
    def __traceback__(self) -> Any:
        raise SystemExit(1)


class Nameless(type):
    """A class of classes that do not tell their name."""

    @property
    def __name__(cls) -> Any:
        raise SystemExit(1)


class NotPicklable(metaclass=Nameless):
    """A value that cannot be sent, and whose class has no name."""

    def __reduce__(self) -> Any:
        raise RuntimeError("never")


called: list[int] = []
"""The numbers that `odd` was called with in this process."""


@task_token_guard()
def calls_of_odd() -> list[int]:
    """Give the numbers that `odd` was called with in this core process."""
    return called


@task_token_guard(operation_type="odd")
def odd(number: int) -> Any:
    """Give a list; and now and then something odd."""
    called.append(number)
    if number == 20:
        raise Untraced("c")
    if number == 120:
        return NotPicklable()
    if number == 40:
        raise Faceless("a")
    if number == 60:
        raise Masked("b")
    if number == 80:
        return Unloadable(KeyboardInterrupt)
    if number == 100:
        return Unloadable(SystemExit)
    return [number]
