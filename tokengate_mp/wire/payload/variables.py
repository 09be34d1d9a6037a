"""Context variables as such: how one variable is pickled, and found again.

A variable is found again in the other process by the module that it stands in. One that stands in
`__main__`, or that a function which travels by value refers to, has an identity instead, under
which each process has one variable of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import Context, ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any, Final

MAIN: Final = "__main__"

_lock = threading.Lock()
_identities: dict[ContextVar[Any], str] = {}
_variables: dict[str, ContextVar[Any]] = {}
# Where variables were found; for one that was not, how many modules had been looked through.
_places: dict[ContextVar[Any], tuple[str, str] | int] = {}


def reduce_variable(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """How a variable is pickled: by its module, or by an identity that it has from now on."""
    place = place_of_variable(variable)
    if place is not None and place[0] != MAIN:
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


def has_identity(variable: ContextVar[Any]) -> bool:
    """Whether a variable was pickled by its identity, here or in the process it came from."""
    return variable in _identities


def place_of_variable(variable: ContextVar[Any]) -> tuple[str, str] | None:
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
