"""Objects that stay one object: however often one is sent, it arrives as the same.

Each kind is made from its arguments and then filled, as a class is: what it is filled with may
refer to it. Of a kind that is called by its name in an importable module, a pickle has the name.
"""

from __future__ import annotations

import builtins
import copyreg
import functools
import sys
import threading
import typing
import weakref
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Final, NamedTuple

import cloudpickle

from tokengate_mp.wire.payload.pickle_format import PROTOCOL

REDUCE: Final[Any] = object.__reduce__
REDUCE_EX: Final[Any] = object.__reduce_ex__
"""How instances are pickled whose class has no say in it."""


class Apart(NamedTuple):
    """An object taken apart: what makes a bare object, and what fills it."""

    make: Callable[..., Any]
    arguments: tuple[Any, ...]
    fill: Callable[..., None]
    contents: tuple[Any, ...]


def is_named(thing: Any) -> bool:
    """Whether an object is found by its name in a module that can be imported elsewhere."""
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return False
    if module in cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing


def _set(thing: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(thing, name, value)


def _nothing(_thing: object) -> None:
    pass


# ---- functions that hold more than their code


def _cached(function: Any, maxsize: int | None, typed: bool) -> Any:  # noqa: FBT001
    return functools.lru_cache(maxsize, typed)(function)


def _cached_apart(wrapper: Any) -> Apart | None:
    """Take a function of `lru_cache` apart. Each process has its own cache."""
    attributes = dict(vars(wrapper))
    wrapped = attributes.pop("__wrapped__", None)
    parameters = attributes.pop("cache_parameters", None)
    if wrapped is None or parameters is None:
        return None
    told = parameters()
    arguments = wrapped, told["maxsize"], told["typed"]
    return Apart(_cached, arguments, _set, (attributes,))


_DISPATCHER: Final[Any] = functools.singledispatch(print)

DISPATCHING: Final = _DISPATCHER.__code__
"""The code of each function that `singledispatch` makes."""

_OF_DISPATCH: Final = frozenset(vars(_DISPATCHER))


def dispatching_apart(function: FunctionType) -> Apart:
    """Take a function of `singledispatch` apart, into the functions that are registered with it."""
    registry = dict(function.registry)  # type: ignore[attr-defined]
    attributes = {name: value for name, value in vars(function).items() if name not in _OF_DISPATCH}
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        attributes[name] = getattr(function, name)
    wrapped = function.__wrapped__  # type: ignore[attr-defined]
    return Apart(functools.singledispatch, (wrapped,), _register, (registry, attributes))


def _register(function: Any, registry: Mapping[type, Any], attributes: Mapping[str, Any]) -> None:
    _set(function, attributes)
    for kind, implementation in registry.items():
        function.register(kind, implementation)


# ---- types that are no classes


def _new_type_apart(new_type: Any) -> Apart:
    names = {name: getattr(new_type, name) for name in ("__module__", "__qualname__")}
    arguments = new_type.__name__, new_type.__supertype__
    return Apart(typing.NewType, arguments, _set, (names,))


def _parameter(kind: Any, name: str, constraints: tuple[Any, ...], told: dict[str, Any]) -> Any:
    return kind(name, *constraints, **told)


def _parameter_apart(parameter: Any) -> Apart:
    """Take a TypeVar, ParamSpec or TypeVarTuple apart."""
    told = {}
    for attribute, keyword in (
        ("__bound__", "bound"),
        ("__covariant__", "covariant"),
        ("__contravariant__", "contravariant"),
        ("__infer_variance__", "infer_variance"),
    ):
        value = getattr(parameter, attribute, None)
        if value:
            told[keyword] = value
    if hasattr(parameter, "has_default") and parameter.has_default():
        told["default"] = parameter.__default__
    constraints = getattr(parameter, "__constraints__", ())
    arguments = type(parameter), parameter.__name__, constraints, told
    return Apart(_parameter, arguments, _set, ({"__module__": parameter.__module__},))


def _alias(name: str, module: str, value: list[Any], parameters: tuple[Any, ...]) -> Any:
    if parameters:
        kind: Any = typing.TypeAliasType  # type: ignore[attr-defined]  # since Python 3.12
        return kind(name, value[0], type_params=parameters)
    # By a statement, so that it is evaluated when it is asked for: it may refer to itself.
    namespace = {"__name__": module, "value": value}
    exec(f"type {name} = value[0]", namespace)  # noqa: S102 - an identifier, as it stood in such a one
    return namespace[name]


def _alias_apart(alias: Any) -> Apart:
    parameters = alias.__type_params__
    value = [alias.__value__] if parameters else []
    arguments = alias.__name__, alias.__module__, value, parameters
    contents = () if parameters else (value, alias.__value__)
    return Apart(_alias, arguments, _evaluated if contents else _nothing, contents)


def _evaluated(_alias: Any, value: list[Any], evaluated: Any) -> None:
    value.append(evaluated)


def _sentinel(kind: Any, name: str, shown: str) -> Any:
    return kind(name, repr=shown)


def _sentinel_apart(sentinel: Any) -> Apart:
    """Take a sentinel (PEP 661) apart."""
    arguments = type(sentinel), sentinel.__name__, repr(sentinel)
    return Apart(_sentinel, arguments, _set, ({"__module__": sentinel.__module__},))


SINGLES: Final[dict[type, Callable[[Any], Apart | None]]] = {
    functools._lru_cache_wrapper: _cached_apart,  # noqa: SLF001 - it has no other name
    typing.NewType: _new_type_apart,
    typing.TypeVar: _parameter_apart,
    typing.ParamSpec: _parameter_apart,
    typing.TypeVarTuple: _parameter_apart,
}
"""How objects of these types are taken apart that no importable module has by their name."""


if sys.version_info >= (3, 12):
    SINGLES[typing.TypeAliasType] = _alias_apart

if sys.version_info >= (3, 15):
    SINGLES[builtins.sentinel] = _sentinel_apart


# ---- what only definitions bring: each process has its own

_OWN: Final[dict[type, Callable[[], Any]]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
    threading.local: threading.local,
    object: object,
}


def taken_apart(thing: Any, *, in_definition: bool) -> Apart | None:
    """Take an object apart that is to stay one; None if copies of it will do.

    Args:
        thing: The object, neither a class nor a function.
        in_definition: Whether it is part of the definition of a function or class. There, a lock
            or a `threading.local` is each process's own, and an object without state is there to
            be told from all others, as a default value that means that nothing was given.
    """
    kind = type(thing)
    take_apart = SINGLES.get(kind)
    if take_apart is not None:
        return None if is_named(thing) else take_apart(thing)
    if kind.__module__ == "__main__":
        return _of_main(thing, kind, in_definition=in_definition)
    if not in_definition:
        return None
    if kind is weakref.ref and thing() is not None:
        return Apart(weakref.ref, (thing(),), _nothing, ())
    make = _OWN.get(kind)
    return None if make is None else Apart(make, (), _nothing, ())


def _of_main(thing: Any, kind: Any, *, in_definition: bool) -> Apart | None:
    """Take an instance of a script's class apart that has no state, or a name instead."""
    if kind in copyreg.dispatch_table:
        return None
    if kind.__reduce__ is not REDUCE or kind.__reduce_ex__ is not REDUCE_EX:
        if not isinstance(thing.__reduce_ex__(PROTOCOL), str):
            return None
        # The name of a global variable, which is each process's own object of this class.
        return Apart(kind.__new__, (kind,), _update, (getattr(thing, "__dict__", {}),))
    if not in_definition:
        return None
    make, arguments, *state = thing.__reduce_ex__(PROTOCOL)
    if make is _NEW_OBJECT and len(arguments) == 1 and not any(state):
        return Apart(make, arguments, _nothing, ())
    return None


_NEW_OBJECT: Final[Any] = copyreg.__newobj__  # type: ignore[attr-defined]


def _update(thing: Any, state: Mapping[str, Any]) -> None:
    if state:
        vars(thing).update(state)
