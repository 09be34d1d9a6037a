"""Context variables as such: how one variable is pickled, and found again.

A variable is found again in the other process by the module that it stands in. One that stands in
`__main__`, or that a function which travels by value refers to, has an identity instead, under
which each process has one variable of its own.
"""

from __future__ import annotations

import os
import sys
from contextvars import Context, ContextVar
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from tokengate_mp.locks import new_lock

MAIN_MODULE: Final = "__main__"

_lock = new_lock()
_identities: dict[ContextVar[Any], str] = {}
_variables: dict[str, ContextVar[Any]] = {}
# Where variables were found; for one that was not, how many modules had been looked through.
_locations: dict[ContextVar[Any], tuple[str, str] | int] = {}


def reduce_variable(variable: ContextVar[Any]) -> tuple[Any, ...]:
    """Reduce a variable to its module and name, or to an identity given now."""
    location = location_of(variable)
    if location is not None and location[0] != MAIN_MODULE:
        return _named, location
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
    """Return the variable of that name in a module."""
    variable: ContextVar[Any] = getattr(import_module(module), name)
    return variable


def _identified(identity: str, name: str, *default: Any) -> ContextVar[Any]:
    """Return the variable of that identity: a known variable, or a new variable."""
    with _lock:
        variable = _variables.get(identity)
        if variable is None:
            # Made once for each identity, and kept, as those of a module are.
            variable = ContextVar(name, default=default[0]) if default else ContextVar(name)
            _variables[identity] = variable
            _identities[variable] = identity
        return variable


def has_identity(variable: ContextVar[Any]) -> bool:
    """Whether a variable was pickled by its identity, here or in the process where that began."""
    return variable in _identities


def location_of(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Return the module and the name of a variable; None if the variable stands in no module."""
    known = _locations.get(variable)
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
    _locations[variable] = count if found is None else found
    return found
