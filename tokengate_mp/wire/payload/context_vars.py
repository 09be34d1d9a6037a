"""Context variables that travel: a snapshot of the caller's, to be set around a run.

A variable is found again in the other process by the module that it stands in. One that stands in
`__main__`, or that a function which travels by value refers to, has an identity instead, under
which each process has one variable of its own.

What travels is what is set where the call is made, and can be found again. The standard library's
own variables do not (asyncio and others keep things in them that belong to this process), except
the context of `decimal`. Neither do variables that stand in no module, like those that a library
keeps in an object of its own: nothing says what they are, and there is nobody to ask.
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import Context, ContextVar, copy_context
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from tokengate_mp.errors import PayloadError, describe
from tokengate_mp.wire.payload.codec import loads, to_pickle

_MAIN: Final = "__main__"
_OWN: Final = __name__.partition(".")[0]
_DECIMAL: Final = "decimal_context"

_lock = threading.Lock()
_identities: dict[ContextVar[Any], str] = {}
_variables: dict[str, ContextVar[Any]] = {}
# Where variables were found; for one that was not, how many modules had been looked through.
_places: dict[ContextVar[Any], tuple[str, str] | int] = {}


# ---- variables as such, in whatever is pickled


def reduced(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """How a variable is pickled: by its module, or by an identity that it has from now on."""
    place = _place(variable)
    if place is not None and place[0] != _MAIN:
        return _named, place
    with _lock:
        identity = _identities.get(variable)
        if identity is None:
            identity = _identities[variable] = os.urandom(8).hex()
            _variables[identity] = variable
    try:
        default: tuple[Any, ...] = (Context().run(variable.get),)
    except LookupError:
        default = ()
    return _identified, (identity, variable.name, *default)


def _named(module: str, name: str) -> ContextVar[Any]:
    """The variable of that name."""
    variable: ContextVar[Any] = getattr(import_module(module), name)
    return variable


def _identified(identity: str, name: str, *default: Any) -> ContextVar[Any]:
    """The variable of that identity: the one that is here, or a new one."""
    with _lock:
        variable = _variables.get(identity)
        if variable is None:
            # Made once for each identity, and kept, as those of a module are.
            variable = ContextVar(name, default=default[0]) if default else ContextVar(name)
            _variables[identity] = variable
            _identities[variable] = identity
        return variable


def _place(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """The module and the name that a variable stands under; None if it stands in none."""
    known = _places.get(variable)
    if isinstance(known, tuple):
        return known
    count = len(sys.modules)
    if known == count:
        return None
    found: tuple[str, str] | None = None
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType):
            for attribute, value in list(vars(module).items()):
                if value is variable:
                    # Rather than where it was imported to, where it has the name it was given.
                    if found is None or attribute == variable.name != found[1]:
                        found = name, attribute
                    break
    _places[variable] = count if found is None else found
    return found


# ---- the snapshot


class _Sent:
    """A variable, as it stands in a snapshot: it unpickles as the variable itself."""

    __slots__ = ("variable",)

    def __init__(self, variable: ContextVar[Any]) -> None:
        self.variable = variable

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self.variable)


class _Decimal:
    """Stands for the variable that the context of `decimal` is in, which has no name there."""

    @staticmethod
    def set(value: Any) -> None:
        """Set it."""
        import decimal  # noqa: PLC0415 - few need it

        decimal.setcontext(value)


def _travels(variable: ContextVar[Any]) -> bool:
    """Whether a variable is the user's, and can be found again."""
    if variable in _identities:
        return True
    place = _place(variable)
    if place is None:
        return False
    package = place[0].partition(".")[0]
    return package == _MAIN or (package not in sys.stdlib_module_names and package != _OWN)


def snapshot(operation: str) -> bytes:
    """The values of the context variables that are set here, as bytes.

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


def enter(carried: bytes) -> None:
    """Set the variables of a snapshot, in the context that this is called in.

    Raises:
        Exception: What loading the values raises.
    """
    for variable, value in loads(carried):
        variable.set(value)
