"""The global variables of functions that travel by value: those of one module stay together.

cloudpickle gives every function that it brings globals of its own, with copies of what it refers
to. Here all functions of a script share theirs in a core process, as they do in the script: what an
initializer, or a call, leaves in a variable there is found by the next call of another function.

A variable comes with the first function that refers to it. It comes again when it has been bound to
another object where the functions are from. Until then it stays what the core process has made of
it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import count
from types import CodeType, FunctionType
from typing import Any, Final
from weakref import ref

NAME: Final = "__tokengate_namespace__"
"""Global variable in which a module's `_Sent` is kept, so that it lives as long as they do."""

_versions = count(1)
_lock = threading.Lock()


class _Sent:
    """The variables of a module that have been sent, and their bindings at that time."""

    def __init__(self) -> None:
        self.identity = os.urandom(12)
        self._versions: dict[str, tuple[int, Callable[[], object]]] = {}

    def version(self, name: str, value: object) -> int:
        """Return the version of a variable: a new version if the variable was bound anew."""
        known = self._versions.get(name)
        if known is None or known[1]() is not value:
            try:
                holder: Callable[[], object] = ref(value)
            except TypeError:  # no weak references to these; it is a global variable all the same
                holder = lambda: value  # noqa: E731 - a function as the other branch has one
            known = self._versions[name] = next(_versions), holder
        return known[0]


class _Received:
    """The variables of a module of another process."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.variables = variables
        self.versions: dict[str, int] = {}


_received: Final[dict[bytes, _Received]] = {}


class _Reference:
    """Pickles as a call that gives the variables of a module."""

    def __init__(self, identity: bytes, basics: Mapping[str, Any]) -> None:
        self._arguments = identity, dict(basics)

    def __reduce__(self) -> tuple[Any, ...]:
        return _variables, self._arguments


def _variables(identity: bytes, basics: dict[str, Any]) -> dict[str, Any]:
    with _lock:
        known = _received.get(identity)
        if known is None:
            known = _received[identity] = _Received({**basics, NAME: None})
    return known.variables


def taken_apart(function: FunctionType, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """Reduce a function so that the global variables of its module are shared on arrival.

    Args:
        function: The function.
        reduced: How cloudpickle reduces it.
    """
    variables = function.__globals__
    name = variables.get("__name__")
    home = sys.modules.get(name) if isinstance(name, str) and name != "__main__" else None
    if home is not None and vars(home) is variables:
        return reduced  # a module that can be imported there has its own
    with _lock:
        sent = variables.setdefault(NAME, _Sent())
        if sent is None:  # it came from another process itself
            return reduced
        _make, (code, basics, *_rest, closure), (state, slots), *_none, set_state = reduced
        own = slots["__globals__"]
        versions = {name: sent.version(name, value) for name, value in own.items()}
    slots = {**slots, "__globals__": {}}
    contents = sent.identity, own, versions, set_state, (state, slots)
    arguments = code, _Reference(sent.identity, basics), closure
    return _function, arguments, contents, None, None, _complete


def _function(code: CodeType, variables: dict[str, Any], closure: Any) -> FunctionType:
    variables["__builtins__"] = __builtins__
    return FunctionType(code, variables, None, None, closure)


def _complete(function: FunctionType, contents: tuple[Any, ...]) -> None:
    """Give a function its attributes, and its module new bindings of variables."""
    identity, own, versions, set_state, state = contents
    set_state(function, state)
    with _lock:
        received = _received[identity]
        for name, value in own.items():
            if versions[name] > received.versions.get(name, 0):
                received.versions[name] = versions[name]
                received.variables[name] = value
