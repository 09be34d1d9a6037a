"""Functions as bytes: by name where a core process can import it, by value where it cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any, Final, cast

from tokengate_mp.wire.codec import PROTOCOL, dumps, loads

PLAIN: Final = "__tokengate_plain__"
"""Attribute of a decorated function that holds the plain one."""


OWN: Final = "__tokengate_define__"
"""Method of a callable that knows by itself how it travels; what it gives unpickles as that."""


def name_of(function: Callable[..., Any]) -> str | None:
    """`module:qualname` if importing that gives `function`, plain or decorated; else None."""
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or module == "__main__":
        return None
    try:
        found: Any = reduce(getattr, qualname.split("."), sys.modules[module])
    except Exception:  # noqa: BLE001 - it is not there, or looking for it runs user code
        return None
    if found is function or getattr(found, PLAIN, None) is function:
        return f"{module}:{qualname}"
    return None


def named(name: str) -> Callable[..., Any]:
    """The plain function that `name` (from `name_of`) stands for.

    Raises:
        Exception: Whatever importing its module raises.
    """
    module, _, qualname = name.partition(":")
    found: Any = reduce(getattr, qualname.split("."), import_module(module))
    plain: Callable[..., Any] = getattr(found, PLAIN, found)
    return plain


def define(function: Callable[..., Any]) -> bytes:
    """`function` as bytes.

    Raises:
        Exception: Whatever pickling raises; a closure may hold anything.
    """
    name = name_of(function)
    if name is not None:
        return dumps(name, PROTOCOL)
    own = getattr(type(function), OWN, None)
    if own is not None:
        return cast("bytes", own(function))
    from tokengate_mp.wire import by_value  # noqa: PLC0415 - 40 ms, seldom needed

    return by_value.define(function)


def resolve(definition: bytes) -> Callable[..., Any]:
    """The function that `definition` (from `define`) stands for.

    Raises:
        Exception: Whatever importing or unpickling it raises.
    """
    target = loads(definition)
    return named(target) if isinstance(target, str) else target
