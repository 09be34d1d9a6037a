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

Some kinds of class cloudpickle does not bring back as they were: msgspec Structs, enums whose
members have state or a `__new__`, classes with `__slots__`. `classes` does. And two kinds of
object that it would change without a word, memoryviews (into bytes) and open text files (into
copies in memory), stay what they are or are refused.
"""

from __future__ import annotations

import enum
import io
import os
import pickle
import threading
import zlib
from collections import ChainMap, deque
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import cloudpickle

from tokengate_mp.wire.payload import classes, namespaces
from tokengate_mp.wire.payload.pickle_format import PROTOCOL
from tokengate_mp.wire.payload.reducers import table

REMEMBERED: Final = 1024
"""How many of the classes that arrived last are kept although nothing else may refer to them.

A class that only arguments refer to would otherwise be put together anew for every token.
"""

_lock = threading.RLock()
"""Held while classes are put together, so that no other thread finds half a class."""

_identities: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()
_classes: WeakValueDictionary[bytes, type] = WeakValueDictionary()
_definitions: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()
_remembered: deque[type] = deque(maxlen=REMEMBERED)


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
    return _dump(value, whole=False, buffer_callback=buffer_callback)


def define(function: Callable[..., Any]) -> bytes:
    """Pickle `function` as a whole with the classes that the function refers to, unlike `dumps`.

    They share their global variables, as they do here (see `namespaces`).

    Raises:
        Exception: Whatever pickling raises; a closure may hold anything.
    """
    return pickle.dumps(_Whole(_dump(function, whole=True)), PROTOCOL)


def _dump(value: object, *, whole: bool, buffer_callback: Any = None) -> bytes:
    table.complete()
    with io.BytesIO() as file:
        _Pickler(file, whole=whole, buffer_callback=buffer_callback).dump(value)
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


# ---- classes


def _class(identity: bytes, definition: bytes) -> type:
    """Return the class of that identity: a known class, or else a new class of the definition."""
    known = _classes.get(identity)
    if known is None:
        with _lock:
            known = pickle.loads(zlib.decompress(definition))
            _definitions.setdefault(known, definition)
    return known


def _made(identity: bytes, make: Callable[..., type], arguments: tuple[Any, ...]) -> type:
    """Return the class of that identity; a new class comes without its attributes."""
    known = _classes.get(identity)
    return make(*arguments) if known is None else known


def _complete(
    made: type,
    contents: tuple[bytes, Callable[..., Any], Any, Mapping[str, Mapping[str, Any]]],
) -> None:
    """Give a class its attributes, unless the class was known before."""
    identity, set_state, state, of_members = contents
    if _classes.get(identity) is made:
        return
    set_state(made, state)
    for name, attributes in of_members.items():
        vars(made.__members__[name]).update(attributes)  # type: ignore[attr-defined]  # an enum
    _identities[made] = identity
    _classes[identity] = made
    _remembered.append(made)


def _identity(cls: type) -> bytes:
    with _lock:
        identity = _identities.get(cls)
        if identity is None:
            identity = _identities[cls] = os.urandom(12)
            _classes[identity] = cls
        return identity


def _definition(cls: type) -> bytes:
    definition = _definitions.get(cls)
    if definition is None:
        definition = zlib.compress(_dump(cls, whole=True))
        _definitions[cls] = definition
    return definition


# ---- the pickler

_ENUM_OWN: Final = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
"""Attributes of an enum's member that the enum itself sees to."""


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle publishes no types
    """The pickler of cloudpickle, with the treatment of classes that the module describes.

    Args:
        file: Where the bytes go.
        whole: Whether classes are part of this pickle, and not of their own.
        buffer_callback: As for `pickle.dumps`.
    """

    dispatch_table: ClassVar[Any] = ChainMap(table.REDUCERS, cloudpickle.Pickler.dispatch_table)

    def __init__(self, file: io.BytesIO, *, whole: bool, buffer_callback: Any) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._whole = whole

    def reducer_override(self, obj: Any) -> Any:
        """Reduce `obj`; NotImplemented to let pickle decide."""
        if not issubclass(type(obj), type):
            reduced = super().reducer_override(obj)
            if self._whole and type(obj) is FunctionType and reduced is not NotImplemented:
                return namespaces.taken_apart(obj, reduced)
            return reduced
        if not self._whole and obj in _definitions:
            return _class, (_identity(obj), _definitions[obj])
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented or len(reduced) == 2:  # noqa: PLR2004 - by name, that is
            return reduced
        if not self._whole:
            return _class, (_identity(obj), _definition(obj))
        return _taken_apart(obj, *reduced)


def _taken_apart(
    cls: Any, _make: Any, _arguments: Any, state: Any, _list: None, _dict: None, set_state: Any
) -> tuple[Any, ...]:
    """Reduce a class to the arguments of `_made` and `_complete`, less the parts made there."""
    attributes, slots = state
    of_members = {}
    if issubclass(cls, enum.Enum):
        for name, member in cls.__members__.items():
            attributes.pop(name, None)
            of_members[name] = {k: v for k, v in vars(member).items() if k not in _ENUM_OWN}
    identity = _identity(cls)
    contents = identity, set_state, (attributes, slots), of_members
    return _made, (identity, *classes.of(cls)), contents, None, None, _complete
