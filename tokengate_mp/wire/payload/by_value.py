"""Functions and classes that another process cannot import, as bytes.

cloudpickle does the work. What is added here is what a *class* needs in order to stay one class,
however often its instances travel:

- A class that is sent has an identity, and a process that knows it uses the class it has, as it
  is. So what comes back to the caller is an instance of the caller's own class, and the class is
  not touched: cloudpickle by itself would set each of its attributes again, to copies.
- It is taken apart once. Every further time its identity goes, and beside it the same bytes, which
  nobody opens who knows the class. (cloudpickle takes a millisecond for a dataclass, and another
  at the other end. That the bytes go too makes each record complete in itself: nobody has to
  remember what a process that may have been replaced was told.)

So a class, like a function, is what it was when it was first sent.

How a class is taken apart and put together again, `classes` says: by its attributes as they are,
without running what takes part in the making of classes. Other objects that stay one in the same
way, as functions with a cache and type variables do, are in `reducers.singles`; objects of single
types, which cloudpickle would change or refuse, in the table of `reducers`.
"""

from __future__ import annotations

import enum
import io
import os
import pickle
import zlib
from collections import deque
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final
from weakref import finalize

import cloudpickle
from cloudpickle.cloudpickle import _should_pickle_by_reference

from tokengate_mp.locks import new_lock
from tokengate_mp.wire.payload.classes import bare, enums, kinds
from tokengate_mp.wire.payload.identities import Identities
from tokengate_mp.wire.payload.namespaces import bindings
from tokengate_mp.wire.payload.namespaces.arrivals import epoch
from tokengate_mp.wire.payload.namespaces.reach import Names, Reach, reached
from tokengate_mp.wire.payload.pickle_format import PROTOCOL
from tokengate_mp.wire.payload.reducers.annotated import readable
from tokengate_mp.wire.payload.reducers.enclosed import refuse_enclosed
from tokengate_mp.wire.payload.reducers.singles import (
    DISPATCHING,
    REDUCE,
    REDUCE_EX,
    Apart,
    dispatching_apart,
    taken_apart,
)
from tokengate_mp.wire.payload.reducers.table import table

REMEMBERED: Final = 1024
"""How many of the classes that arrived last are kept although nothing else may refer to them.

A class that only arguments refer to would otherwise be put together anew for every token.
"""

_NOTHING: Final = object()

_lock = new_lock()
"""Held while classes are put together, so that no other thread finds half a class."""

_singles: Final = Identities()
_definitions: Final[dict[bytes, bytes]] = {}
"""Definitions of these, by identity, as long as they live."""
_reaches: Final[dict[bytes, Names]] = {}
"""The global variables that these refer to, likewise."""
_stamps: dict[bytes, int] = {}
_remembered: deque[Any] = deque(maxlen=REMEMBERED)


def dumps(
    value: object, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None
) -> bytes:
    """Pickle `value`, with classes as identity and definition.

    Args:
        value: The value.
        buffer_callback: As for `pickle.dumps`.

    Raises:
        Exception: Whatever pickling raises.
    """
    return _dump(value, Reach(), whole=False, buffer_callback=buffer_callback)


def define(function: Callable[..., Any]) -> bytes:
    """Pickle `function` as a whole with the classes that the function refers to, unlike `dumps`.

    They share their global variables, as they do here (see `namespaces.bindings`).

    Raises:
        Exception: Whatever pickling raises; a closure may hold anything.
    """
    refuse_enclosed(function)
    reach = Reach()
    pickled = pickle.dumps(_Whole(_dump(function, reach, whole=True)), PROTOCOL)
    reached(reach)
    return pickled


def _dump(
    value: object,
    reach: Reach,
    *,
    whole: bool,
    buffer_callback: Any = None,
    beside: object = _NOTHING,
) -> bytes:
    with io.BytesIO() as file:
        _Pickler(file, reach, whole=whole, buffer_callback=buffer_callback, beside=beside).dump(
            value
        )
        return file.getvalue()


class _Whole:
    """Pickles as a call that loads `pickled` while no other thread loads the like."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return _whole, (self._pickled,)


def _whole(pickled: bytes) -> Any:
    with _lock:
        return pickle.loads(pickled)


# ---- what stays one: classes, and others that are compared by identity


def _single(identity: bytes, definition: bytes) -> Any:
    """Return the object of that identity: a known one, or else a new one of the definition."""
    known = _singles.find(identity)
    if known is None:
        with _lock:
            known = pickle.loads(zlib.decompress(definition))
            _remember(known, identity, definition)
    return known


def _known(identity: bytes) -> Any:
    """Return the object of that identity, which came with this pickle."""
    return _singles.find(identity)


def _made(identity: bytes, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return the object of that identity; a new object comes bare."""
    known = _singles.find(identity)
    return make(*arguments) if known is None else known


def _complete(made: Any, contents: tuple[bytes, Callable[..., None], tuple[Any, ...]]) -> None:
    """Fill a bare object, unless it was known before."""
    identity, fill, arguments = contents
    if _singles.find(identity) is made:
        return
    fill(made, *arguments)
    _singles.set(made, identity)
    _remembered.append(made)


def _identity(thing: object) -> bytes:
    with _lock:
        return _singles.give(thing)


def _definition(thing: object) -> tuple[bytes, bytes]:
    """Return the identity and the definition of an object, which is taken apart once."""
    identity = _singles.get(thing)
    definition = None if identity is None else _definitions.get(identity)
    if identity is None or definition is None:
        reach = Reach()
        definition = zlib.compress(_dump(thing, reach, whole=True))
        identity = _identity(thing)
        _remember(thing, identity, definition)
        _reaches[identity] = reach.names()
    return identity, definition


def _remember(thing: object, identity: bytes, definition: bytes) -> None:
    if identity not in _definitions:
        _definitions[identity] = definition
        try:
            finalize(thing, _forget, identity).atexit = False
        except TypeError:  # an `object()` or a sentinel has no weak references, and is kept
            return


def _forget(identity: bytes) -> None:
    _definitions.pop(identity, None)
    for home, _names in _homes(identity):
        home.of_singles.pop(identity, None)
    _reaches.pop(identity, None)


# ---- the global variables that these refer to


def _single_bound(identity: bytes, definition: bytes, stamp: bytes, variables: bytes) -> Any:
    """Return the object of that identity, and bind the variables that the object refers to."""
    known = _single(identity, definition)
    if _stamps.get(stamp) != epoch():
        with _lock:
            pickle.loads(zlib.decompress(variables))
            if len(_stamps) >= REMEMBERED:
                _stamps.clear()
            _stamps[stamp] = epoch()
    return known


def _homes(identity: bytes) -> list[tuple[bindings.Namespace, tuple[str, ...]]]:
    names = _reaches.get(identity, ())
    return [(home, each) for known, each in names if (home := bindings.known(known))]


def _variables_of(thing: object, identity: bytes) -> bindings.SingleBindings | None:
    """Return what binds the variables that an object refers to, as they are; None for none."""
    names = _reaches.get(identity)
    if names is None:  # it came from elsewhere
        reach = Reach()
        _dump(thing, reach, whole=True)
        names = _reaches[identity] = reach.names()
    # (Kept with the variables, to which it refers.)
    first = bindings.known(names[0][0]) if names else None
    found = None if first is None else first.of_singles.get(identity)
    if found is None or not (found.unchanged is None or found.unchanged()):
        found = _bind_anew(thing, identity)
    return found if found is not None and found.pickled else None


def _bind_anew(thing: object, identity: bytes) -> bindings.SingleBindings | None:
    homes = _homes(identity)
    if not homes:
        return None
    reach, pickled = Reach(), b""
    needed = [bindings.Bindings(home, each, reach, dumps) for home, each in homes]
    if any(needed):
        pickled = zlib.compress(_dump(needed, reach, whole=True, beside=thing))
    found = bindings.SingleBindings(reach.watch(), os.urandom(8), pickled)
    homes[0][0].of_singles[identity] = found
    return found


# ---- the pickler


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle publishes no types
    """The pickler of cloudpickle, with the treatment of classes that the module describes.

    Args:
        file: Where the bytes go.
        reach: Gets the global variables that functions and classes in it refer to.
        whole: Whether classes are part of this pickle, and not of their own.
        buffer_callback: As for `pickle.dumps`.
        beside: What a process knows that loads this pickle, as it comes beside.
    """

    def __init__(
        self,
        file: io.BytesIO,
        reach: Reach,
        *,
        whole: bool,
        buffer_callback: Any,
        beside: object,
    ) -> None:
        self.dispatch_table = table()
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._reach = reach
        self._whole = whole
        self._beside = beside

    def reducer_override(self, obj: Any) -> Any:
        """Reduce `obj`; NotImplemented to let pickle decide."""
        kind = type(obj)
        if issubclass(kind, type):
            return self._reduce_class(obj)
        if kind is FunctionType:
            return self._reduce_function(obj)
        if (
            not self._whole
            and kind.__reduce_ex__ is REDUCE_EX
            and kind.__reduce__ is REDUCE
            and (kind is not object or _singles.get(obj) is None)
        ):
            return NotImplemented  # like most: copies will do, but for the object() of a definition
        if issubclass(kind, enum.Enum):
            by_name = _should_pickle_by_reference(kind)
            return NotImplemented if by_name else enums.reduce_member(obj) or NotImplemented
        apart = taken_apart(obj, in_definition=self._whole or kind is object)
        return NotImplemented if apart is None else self._reduce_single(obj, lambda _: apart)

    def _reduce_function(self, function: FunctionType) -> Any:
        if function is _single_bound or function is _single:
            return NotImplemented  # by name, which cloudpickle takes a while to see
        reduced = super().reducer_override(function)
        if reduced is NotImplemented:
            return reduced
        if function.__code__ is DISPATCHING:
            return self._reduce_single(function, dispatching_apart)
        parameters = getattr(function, "__type_params__", ())
        if parameters:  # since Python 3.12
            reduced[2][1]["__type_params__"] = parameters
        return bindings.taken_apart(function, reduced, self._reach, dumps)

    def _dynamic_function_reduce(self, func: FunctionType) -> Any:
        return super()._dynamic_function_reduce(readable(func))

    def _reduce_class(self, cls: Any) -> Any:
        if not self._whole:
            identity = _singles.get(cls)
            if identity is not None:
                definition = _definitions.get(identity)
                if definition is not None:
                    return _by_identity(cls, identity, definition)
        if _should_pickle_by_reference(cls):
            return NotImplemented
        made = kinds.reduce_made(cls)
        if made is not None:
            return made
        if bare.is_builtin(cls):  # of the interpreter, and in no module by its name
            return super().reducer_override(cls)
        return self._reduce_single(cls, kinds.take_apart)

    def _reduce_single(self, thing: Any, take_apart: Callable[[Any], Apart]) -> Any:
        if not self._whole:
            return _by_identity(thing, *_definition(thing))
        identity = _identity(thing)
        if thing is self._beside:
            return _known, (identity,)
        apart = take_apart(thing)
        arguments = identity, apart.make, apart.arguments
        own = bindings.of_single(thing, self._reach, dumps)
        contents = (identity, apart.fill, apart.contents), own
        return _made, arguments, contents, None, None, _complete_bound


def _by_identity(thing: object, identity: bytes, definition: bytes) -> tuple[Any, ...]:
    variables = _variables_of(thing, identity)
    if variables is None:
        return _single, (identity, definition)
    return _single_bound, (identity, definition, variables.stamp, variables.pickled)


def _complete_bound(made: Any, state: tuple[Any, Any]) -> None:
    _complete(made, state[0])
