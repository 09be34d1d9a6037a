"""Classes in pieces: what each kind has to be made of, before it gets its attributes.

What a class is made from, its metaclass reads once; attributes that come later, as those have to
that refer to the class itself, change nothing of it. So there are two steps: a bare class is made
of what `of` gives, and whoever does that sets the rest.
"""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Callable
from typing import Any, Final

import msgspec


def of(cls: type) -> tuple[Callable[..., type], tuple[Any, ...]]:
    """The function that makes a class like `cls`, without its attributes, and its arguments."""
    if issubclass(cls, enum.Enum):
        return _enum, _of_enum(cls)
    if isinstance(cls, type(msgspec.Struct)):
        return _struct, _of_struct(cls)
    return _plain, _of_plain(cls)


_FROM_THE_START: Final = ("__module__", "__qualname__", "__orig_bases__", "__slots__")
"""Attributes that type() reads; added later they would be attributes like any other."""


def _plain(metaclass: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
    return types.new_class(
        name, bases, {"metaclass": metaclass}, lambda empty: empty.update(namespace)
    )


def _of_plain(cls: type) -> tuple[Any, ...]:
    namespace = {name: vars(cls)[name] for name in _FROM_THE_START if name in vars(cls)}
    return type(cls), cls.__name__, cls.__bases__, namespace


# ---- enums


def _enum(  # noqa: PLR0913, PLR0917 - what an enum is made of
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
            member._value_ = value
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


def _of_enum(cls: type[enum.Enum]) -> tuple[Any, ...]:
    members = cls.__members__
    mixed_in: Any = cls._member_type_  # type: ignore[attr-defined]  # EnumType's, since 3.4
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


def _of_struct(cls: Any) -> tuple[Any, ...]:
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


class _AList(msgspec.Struct):
    made: list[Any] = []


_FACTORY: Final[Any] = type(_AList.__struct_defaults__[0])
"""What a Struct keeps in place of a default that is made anew each time. It has no public name."""


class _Field:
    """Pickles as a call of `msgspec.field(...)`, as the result of that call does not pickle."""

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __reduce__(self) -> tuple[Any, ...]:
        default = self._default
        if isinstance(default, _FACTORY):
            return _field, (self._name, msgspec.NODEFAULT, default.factory)
        return _field, (self._name, default, msgspec.NODEFAULT)


def _field(name: str, default: Any, default_factory: Any) -> Any:
    field: Any = msgspec.field
    return field(name=name, default=default, default_factory=default_factory)
