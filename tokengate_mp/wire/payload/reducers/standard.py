"""Objects of the standard library that do not pickle, or only in some versions of it."""

from __future__ import annotations

import functools
import pickle
import struct
import sys
import weakref
from collections.abc import Callable
from typing import Any, Final


def _reduce_weak_mapping(mapping: Any) -> tuple[Any, ...]:
    return type(mapping), (), None, None, iter(list(mapping.items()))


def _reduce_weak_set(members: Any) -> tuple[Any, ...]:
    return weakref.WeakSet, (), list(members), None, None, _add


def _add(members: Any, found: list[Any]) -> None:
    members.update(found)


def _refuse_reference(reference: weakref.ref[Any]) -> tuple[Any, ...]:
    raise pickle.PicklingError(
        f"a weak reference to {type(reference()).__name__!r} keeps nothing alive, so that it would "
        f"arrive dead: pass the object itself"
    )


def _reduce_cached_property(cached: Any) -> tuple[Any, ...]:
    # Before Python 3.12 it has a lock, which is each process's own.
    state = {name: value for name, value in vars(cached).items() if name != "lock"}
    return functools.cached_property, (cached.func,), state


def _reduce_partial_method(method: Any) -> tuple[Any, ...]:
    return _partial_method, (method.func, method.args, method.keywords)


def _partial_method(function: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return functools.partialmethod(function, *args, **keywords)


REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    weakref.WeakKeyDictionary: _reduce_weak_mapping,
    weakref.WeakValueDictionary: _reduce_weak_mapping,
    weakref.WeakSet: _reduce_weak_set,
    weakref.ReferenceType: _refuse_reference,
    functools.partialmethod: _reduce_partial_method,
    struct.Struct: lambda packer: (struct.Struct, (packer.format,)),
}
"""The reducer of each type of such objects."""

if sys.version_info < (3, 12):
    REDUCERS[functools.cached_property] = _reduce_cached_property
