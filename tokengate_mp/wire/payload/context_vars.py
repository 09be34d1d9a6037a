"""Context variables that travel: a snapshot of the caller's, to be set around a run.

What travels is what is set where the call is made, and can be found again. The standard library's
own variables do not (asyncio and others keep things in them that belong to this process), except
the context of `decimal`. Neither do variables that stand in no module, like those that a library
keeps in an object of its own: nothing says what they are, and there is nobody to ask.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar, copy_context
from typing import Any, Final

from tokengate_mp.errors import PayloadError, describe
from tokengate_mp.wire.payload.codec import loads, to_pickle
from tokengate_mp.wire.payload.variables import (
    MAIN_MODULE,
    has_identity,
    location_of,
    reduce_variable,
)

_OWN: Final = __name__.partition(".")[0]
_DECIMAL: Final = "decimal_context"


class _Sent:
    """A variable in a snapshot; unpickles as the variable itself."""

    __slots__ = ("variable",)

    def __init__(self, variable: ContextVar[Any]) -> None:
        self.variable = variable

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_variable(self.variable)


class _Decimal:
    """A stand-in for the variable with the context of `decimal`, which has no name there."""

    @staticmethod
    def set(value: Any) -> None:
        """Set the context."""
        import decimal  # noqa: PLC0415 - few need it

        decimal.setcontext(value)


def _travels(variable: ContextVar[Any]) -> bool:
    """Whether a variable is the user's, and can be found again."""
    if has_identity(variable):
        return True
    location = location_of(variable)
    if location is None:
        return False
    package = location[0].partition(".")[0]
    return package == MAIN_MODULE or (package not in sys.stdlib_module_names and package != _OWN)


def snapshot(operation: str) -> bytes:
    """Pickle the values of the context variables that are set in the calling context.

    Args:
        operation: The operation_type, for the error.

    Raises:
        PayloadError: A value cannot be sent; it names the variable.
    """
    entries: list[tuple[Any, Any]] = []
    for variable, value in copy_context().items():
        if variable.name == _DECIMAL and type(value).__module__ == "decimal":
            entries.append((_Decimal, value))
        elif _travels(variable):
            entries.append((_Sent(variable), value))
    if not entries:
        return b""
    try:
        return to_pickle(entries)
    except Exception as error:
        raise PayloadError(
            f"{operation!r}: the value of {_culprit(entries)} cannot be sent to a core process: "
            f"{': '.join(describe(error))}. Set what it is made from instead, or make the call in "
            "a context where it is not set."
        ) from error


def _culprit(entries: list[tuple[Any, Any]]) -> str:
    for entry in entries:
        try:
            to_pickle(entry)
        except Exception:  # noqa: BLE001 - the first error is the one that is reported
            variable = entry[0].variable if isinstance(entry[0], _Sent) else entry[0]
            return f"context variable {getattr(variable, 'name', 'decimal')!r}"
    return "the context variables, together,"


def set_variables(carried: bytes) -> None:
    """Set the variables of a snapshot in the calling context.

    Raises:
        Exception: What loading the values raises.
    """
    for variable, value in loads(carried):
        variable.set(value)
