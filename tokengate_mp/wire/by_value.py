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
members have state or a `__new__`, classes with `__slots__`. Those are put together here. And two
kinds of object that it would change without a word, memoryviews (into bytes) and open text files
(into copies in memory), stay what they are or are refused.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import io
import os
import pickle
import sys
import threading
import types
import typing
import zlib
from collections import ChainMap, deque
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import cloudpickle
import msgspec

PROTOCOL: Final = 5

KEPT: Final = 1024
"""How many of the classes that arrived last are kept although nothing else may refer to them.

A class that only arguments refer to would otherwise be put together anew for every token.
"""

_lock = threading.RLock()
"""Held while classes are put together, so that no other thread finds half a class."""

_identities: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()
_classes: WeakValueDictionary[bytes, type] = WeakValueDictionary()
_definitions: WeakKeyDictionary[type, bytes] = WeakKeyDictionary()
_kept: deque[type] = deque(maxlen=KEPT)


def dumps(value: object) -> bytes:
    """A pickle of `value`, in which classes go as identity and definition.

    Raises:
        Exception: Whatever pickling raises.
    """
    return _dump(value, whole=False)


def define(function: Callable[..., Any]) -> bytes:
    """A pickle of `function` that, unlike `dumps`, is one whole with the classes it refers to.

    They share their global variables, as they do here.

    Raises:
        Exception: Whatever pickling raises; a closure may hold anything.
    """
    return pickle.dumps(_Whole(_dump(function, whole=True)), PROTOCOL)


def _dump(value: object, *, whole: bool) -> bytes:
    with io.BytesIO() as file:
        _Pickler(file, whole=whole).dump(value)
        return file.getvalue()


class _Whole:
    """What unpickles as what `pickled` holds, and with no other thread doing the like."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return _whole, (self._pickled,)


def _whole(pickled: bytes) -> Any:
    with _lock:
        return pickle.loads(pickled)


# ---- classes


def _class(identity: bytes, definition: bytes) -> type:
    """The class of that identity: the one that is here, or a new one."""
    known = _classes.get(identity)
    if known is None:
        with _lock:
            known = pickle.loads(zlib.decompress(definition))
            _definitions.setdefault(known, definition)
    return known


def _made(identity: bytes, make: Callable[..., type], arguments: tuple[Any, ...]) -> type:
    """The class of that identity; if it is new, without its attributes still."""
    known = _classes.get(identity)
    return make(*arguments) if known is None else known


def _complete(
    made: type,
    contents: tuple[bytes, Callable[..., Any], Any, Mapping[str, Mapping[str, Any]]],
) -> None:
    """Give a class its attributes, unless it was here before."""
    identity, set_state, state, of_members = contents
    if _classes.get(identity) is made:
        return
    set_state(made, state)
    for name, attributes in of_members.items():
        vars(made.__members__[name]).update(attributes)  # type: ignore[attr-defined]  # an enum
    _identities[made] = identity
    _classes[identity] = made
    _kept.append(made)


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


_FROM_THE_START: Final = ("__module__", "__qualname__", "__orig_bases__", "__slots__")
"""Attributes that type() reads; added later they would be attributes like any other."""


def _plain(metaclass: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
    return types.new_class(
        name, bases, {"metaclass": metaclass}, lambda empty: empty.update(namespace)
    )


def _plain_arguments(cls: type) -> tuple[Any, ...]:
    namespace = {name: vars(cls)[name] for name in _FROM_THE_START if name in vars(cls)}
    return type(cls), cls.__name__, cls.__bases__, namespace


# ---- enums

_ENUM_OWN: Final = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})


def _enum(  # noqa: PLR0913 - what an enum is made of
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    module: str,
    qualname: str,
    values: dict[str, Any],
    bare: list[tuple[Any, ...]] | None,
) -> type:
    """An enum with its members and nothing else.

    Args:
        metaclass: Its type.
        name: Its name.
        bases: Its bases.
        module: The module it says it is of.
        qualname: Its qualified name.
        values: The value of each member.
        bare: What the type that is mixed in makes each member of. The members' own `__new__` and
            `__init__` cannot be called: the arguments they were called with are not known. None
            if the values are those arguments.
    """
    namespace = metaclass.__prepare__(name, bases)
    namespace["__module__"], namespace["__qualname__"] = module, qualname
    if bare is not None:
        remaining = iter(zip(values.values(), bare, strict=True))

        def new(cls: Any, *_arguments: object) -> Any:
            value, arguments = next(remaining)
            member = cls._member_type_.__new__(cls, *arguments)
            member._value_ = value  # noqa: SLF001 - the documented way
            return member

        namespace["__new__"] = new
        namespace["__init__"] = _do_nothing
    for key, value in values.items():
        namespace[key] = enum.member(value)
    made: type = metaclass(name, bases, namespace)
    if bare is not None:
        del made.__init__  # type: ignore[misc]  # its own, if it has one, is among its attributes
    return made


def _do_nothing(*_arguments: object) -> None:
    pass


def _enum_arguments(cls: type[enum.Enum]) -> tuple[Any, ...]:
    members = cls.__members__
    mixed_in = cls._member_type_
    bare: list[tuple[Any, ...]] | None
    if issubclass(cls, enum.Flag):
        bare = None
    elif mixed_in is object:
        bare = [()] * len(members)
    elif hasattr(mixed_in, "__getnewargs__"):
        bare = [mixed_in.__getnewargs__(member) for member in members.values()]
    else:
        bare = None
    return (
        type(cls),
        cls.__name__,
        cls.__bases__,
        cls.__module__,
        cls.__qualname__,
        {name: member.value for name, member in members.items()},
        bare,
    )


# ---- msgspec Structs

_STRUCT_OPTIONS: Final = (
    "frozen",
    "eq",
    "order",
    "array_like",
    "gc",
    "repr_omit_defaults",
    "omit_defaults",
    "forbid_unknown_fields",
    "weakref",
    "dict",
    "cache_hash",
    "tag",
    "tag_field",
)


def _struct(
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    options: dict[str, Any],
) -> type:
    made: type = metaclass(name, bases, namespace, **options)
    return made


def _post_init(self: Any) -> None:
    # A Struct remembers the __post_init__ that it is made with. The real one may refer to the
    # class itself, so it can only come later, with the other attributes; it then replaces this.
    type(self).__post_init__(self)


def _struct_arguments(cls: Any) -> tuple[Any, ...]:
    names = cls.__struct_fields__
    defaults = cls.__struct_defaults__
    default_of = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    encoded = dict(zip(names, cls.__struct_encode_fields__, strict=True))
    annotations = inspect.get_annotations(cls)
    own = [name for name in annotations if name in encoded]
    namespace: dict[str, Any] = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__annotations__": annotations,
    }
    if "__orig_bases__" in vars(cls):
        namespace["__orig_bases__"] = cls.__orig_bases__
    if "__post_init__" in vars(cls):
        namespace["__post_init__"] = _post_init
    for name in own:
        namespace[name] = _Field(encoded[name], default_of.get(name, msgspec.NODEFAULT))
    options = {name: getattr(cls.__struct_config__, name) for name in _STRUCT_OPTIONS}
    options["kw_only"] = any(name not in cls.__match_args__ for name in own)
    return type(cls), cls.__name__, cls.__bases__, namespace, options


class _Field:
    """What unpickles as `msgspec.field(...)`, which itself does not pickle."""

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __reduce__(self) -> tuple[Any, ...]:
        factory = getattr(self._default, "factory", None)
        if factory is not None and type(self._default).__name__ == "Factory":
            return _field, (self._name, msgspec.NODEFAULT, factory)
        return _field, (self._name, self._default, msgspec.NODEFAULT)


def _field(name: str, default: Any, default_factory: Any) -> Any:
    return msgspec.field(name=name, default=default, default_factory=default_factory)


# ---- the pickler


def _memory(data: bytes | bytearray, kind: str, shape: tuple[int, ...]) -> memoryview:
    flat = memoryview(data)
    return flat.cast(kind, shape) if shape else flat.cast(kind)


def _reduce_memory(view: memoryview) -> tuple[Any, ...]:
    data = view.tobytes()
    return _memory, (data if view.readonly else bytearray(data), view.format, view.shape)


def _reduce_file(file: io.TextIOWrapper) -> tuple[Any, ...]:
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise pickle.PicklingError(f"an open file ({file.name!r}) belongs to the process that opened it")


def _reduce_parameter(parameter: Any) -> str | tuple[Any, ...]:
    name, module = parameter.__name__, parameter.__module__
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is parameter:
        return str(name)
    return type(parameter), (name,)


_OWN_REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    memoryview: _reduce_memory,
    io.TextIOWrapper: _reduce_file,
    typing.ParamSpec: _reduce_parameter,
    typing.TypeVarTuple: _reduce_parameter,
    # Compared by identity: dataclasses.fields(…)[0].default is dataclasses.MISSING.
    type(dataclasses.MISSING): lambda _missing: "MISSING",
    type(dataclasses.KW_ONLY): lambda _kw_only: "KW_ONLY",
}


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle publishes no types
    """cloudpickle's, with the classes of this module's head.

    Args:
        file: Where the bytes go.
        whole: Whether classes are part of this pickle, and not of their own.
    """

    dispatch_table = ChainMap(_OWN_REDUCERS, cloudpickle.Pickler.dispatch_table)

    def __init__(self, file: io.BytesIO, *, whole: bool) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self._whole = whole

    def reducer_override(self, obj: Any) -> Any:
        """How to take `obj` apart; NotImplemented to let pickle decide."""
        if not issubclass(type(obj), type):
            return super().reducer_override(obj)
        if not self._whole and obj in _definitions:
            return _class, (_identity(obj), _definitions[obj])
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented or len(reduced) == 2:  # noqa: PLR2004 - by name, that is
            return reduced
        if not self._whole:
            return _class, (_identity(obj), _definition(obj))
        return _taken_apart(obj, *reduced)


def _taken_apart(  # noqa: PLR0913, PLR0917 - what cloudpickle gives for a class
    cls: Any, _make: Any, _arguments: Any, state: Any, _list: None, _dict: None, set_state: Any
) -> tuple[Any, ...]:
    """A class as what `_made` and `_complete` need; without what those see to by themselves."""
    attributes, slots = state
    of_members = {}
    if issubclass(cls, enum.Enum):
        make, arguments = _enum, _enum_arguments(cls)
        for name, member in cls.__members__.items():
            attributes.pop(name, None)
            of_members[name] = {k: v for k, v in vars(member).items() if k not in _ENUM_OWN}
    elif isinstance(cls, type(msgspec.Struct)):
        make, arguments = _struct, _struct_arguments(cls)
    else:
        make, arguments = _plain, _plain_arguments(cls)
    identity = _identity(cls)
    contents = identity, set_state, (attributes, slots), of_members
    return _made, (identity, make, arguments), contents, None, None, _complete
