"""Functions that run with the context variables of their caller."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from tokengate_mp.wire.payload.codec import dumps
from tokengate_mp.wire.payload.context_vars import set_variables
from tokengate_mp.wire.payload.definition import define, resolve
from tokengate_mp.wire.payload.pickle_format import PROTOCOL


class InContext:
    """Calls a function within the context that is the last of its positional arguments.

    Args:
        function: The function.
    """

    __slots__ = ("__weakref__", "_function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __tokengate_define__(self) -> bytes:
        """Pickle the wrapper, with its function as a definition."""
        return dumps(self, PROTOCOL)

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_context, (define(self._function),)

    def __call__(self, /, *arguments: Any, **kwargs: Any) -> Any:
        """Call the function.

        Args:
            arguments: Its positional arguments, and the snapshot of a context.
            kwargs: Its keyword arguments.
        """
        *args, carried = arguments
        return run(carried, self._function, *args, **kwargs)


class InOneContext:
    """Calls a function within the same context each time, as at first.

    Args:
        function: The function.
        carried: The snapshot of the context.
    """

    __slots__ = ("__weakref__", "_carried", "_function")

    def __init__(self, function: Callable[..., Any], carried: bytes) -> None:
        self._function = function
        self._carried = carried

    def __tokengate_define__(self) -> bytes:
        """Pickle the wrapper, with its function as a definition."""
        return dumps(self, PROTOCOL)

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_one_context, (define(self._function), self._carried)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return run(self._carried, self._function, *args, **kwargs)


def run(carried: bytes, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function where the variables of a snapshot are set, over those that are set here.

    A context of its own: what is set in it ends with it.

    Raises:
        Exception: What loading the values raises, or the function.
    """
    return copy_context().run(_run, carried, call, args, kwargs)


def _run(
    carried: bytes, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    if carried:
        set_variables(carried)
    return call(*args, **kwargs)


def _in_context(definition: bytes) -> InContext:
    return InContext(resolve(definition))


def _in_one_context(definition: bytes, carried: bytes) -> InOneContext:
    return InOneContext(resolve(definition), carried)
