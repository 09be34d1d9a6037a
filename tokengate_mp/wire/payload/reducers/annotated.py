"""Functions whose annotations cannot be evaluated where the function is pickled.

From Python 3.14 on annotations are evaluated when they are first asked for (PEP 649), and may name
what only a type checker imports. Such annotations travel as text, as all of them do under
`from __future__ import annotations`.
"""

from __future__ import annotations

import sys
from types import FunctionType


def readable(function: FunctionType) -> FunctionType:
    """Return the function, or a twin with annotations as text if its own cannot be evaluated."""
    if sys.version_info >= (3, 14):
        try:
            function.__annotations__  # noqa: B018 - whether it raises
        except Exception:  # noqa: BLE001 - it is code of the user
            return _with_text(function)
    return function


def _with_text(function: FunctionType) -> FunctionType:
    twin = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    for name in ("__kwdefaults__", "__module__", "__doc__", "__qualname__", "__type_params__"):
        setattr(twin, name, getattr(function, name))
    vars(twin).update(vars(function))
    if sys.version_info >= (3, 14):
        from annotationlib import Format, get_annotations  # noqa: PLC0415 - seldom needed

        try:
            twin.__annotations__ = get_annotations(function, format=Format.STRING)
        except Exception:  # noqa: BLE001 - what decorates it may have one of its own
            twin.__annotations__ = {}
    return twin
