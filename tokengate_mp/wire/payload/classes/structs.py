"""msgspec Structs: made by their metaclass, which lays out the fields, from what it was told."""

from __future__ import annotations

import inspect
from typing import Any, Final

import msgspec

from tokengate_mp.wire.payload.classes import bare

META: Final = type(msgspec.Struct)

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


def make(
    metaclass: Any,
    name: str,
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    options: dict[str, Any],
) -> type:
    """Make a Struct without its methods. The user's own code in a metaclass is not run."""
    with bare.quiet(bases):
        made: type = META.__new__(metaclass, name, bases, bare.interned(namespace), **options)
    return made


def _post_init(self: Any) -> None:
    # A Struct remembers the __post_init__ that it is made with. The real one may refer to the
    # class itself, so it can only come later, with the other attributes; it then replaces this.
    type(self).__post_init__(self)


def arguments_of(cls: Any) -> tuple[Any, ...]:
    """The arguments of `make` for a Struct like this."""
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
