"""Structures and unions of ctypes: laid out when they get their `_fields_`, the last of all.

Types that ctypes makes of others (arrays, pointers, functions, swapped bytes) are made of these
again, by the operation that gives the same type each time.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from tokengate_mp.wire.payload.classes import bare

FIELDS: Final = "_fields_"

_LAYOUT: Final = ("_pack_", "_align_", "_layout_", "_anonymous_")
"""Attributes that are read with `_fields_`, and so have to be there before."""


def is_ctype(cls: type) -> bool:
    """Whether a class is one of ctypes, or is derived from such a class."""
    if "_ctypes" not in sys.modules:
        return False
    from _ctypes import Structure, Union  # noqa: PLC0415 - loaded already

    return issubclass(cls, (Structure, Union))


def make(metaclass: Any, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
    """Make a structure without fields."""
    with bare.quiet(bases):
        made: type = metaclass(name, bases, bare.interned(namespace))
    return made


def in_order(cls: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a structure's attributes, less the fields' descriptors, and `_fields_` at the end."""
    first: dict[str, Any] = {name: attributes[name] for name in _LAYOUT if name in attributes}
    others = {
        name: value
        for name, value in attributes.items()
        if name not in first and name != FIELDS and type(value).__name__ != "CField"
    }
    last = {FIELDS: cls._fields_} if FIELDS in attributes else {}
    return {**first, **others, **last}


def reduce_made(cls: Any) -> tuple[Any, ...] | None:
    """Reduce a type that ctypes makes of others to how it is made; None if it is no such type.

    A metaclass, which has a name but stands in no module, is the type of its classes.
    """
    if "ctypes" not in sys.modules:
        return None
    import ctypes  # noqa: PLC0415 - loaded already

    for base in _bases():
        if cls is type(base):
            return type, (base,)
    if issubclass(cls, ctypes.Array):
        return (_array, (cls._type_, cls._length_)) if cls is cls._type_ * cls._length_ else None
    if issubclass(cls, ctypes._Pointer):  # noqa: SLF001 - it has no other name
        return (ctypes.POINTER, (cls._type_,)) if cls is ctypes.POINTER(cls._type_) else None
    if issubclass(cls, ctypes._CFuncPtr):  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        return _reduce_function_type(cls)
    return _reduce_swapped(cls) if issubclass(cls, ctypes._SimpleCData) else None  # noqa: SLF001


def _bases() -> tuple[Any, ...]:
    import _ctypes  # noqa: PLC0415 - loaded already

    names = ("Structure", "Union", "Array", "_Pointer", "_SimpleCData", "CFuncPtr")
    return tuple(getattr(_ctypes, name) for name in names)


def _reduce_swapped(cls: Any) -> tuple[Any, ...] | None:
    for swapped, named in (("__ctype_be__", "__ctype_le__"), ("__ctype_le__", "__ctype_be__")):
        native = getattr(cls, named, cls)
        if native is not cls and getattr(native, swapped, None) is cls:
            return getattr, (native, swapped)
    return None


def _array(kind: Any, length: int) -> Any:
    return kind * length


def _reduce_function_type(cls: Any) -> tuple[Any, ...] | None:
    import ctypes  # noqa: PLC0415 - loaded already

    flags = cls._flags_
    with_errno = bool(flags & 0x8)  # FUNCFLAG_USE_ERRNO of _ctypes
    arguments = (cls._restype_, cls._argtypes_, with_errno)
    if ctypes.CFUNCTYPE(cls._restype_, *cls._argtypes_, use_errno=with_errno) is cls:
        return _function_type, arguments
    return None


def _function_type(result: Any, arguments: tuple[Any, ...], with_errno: bool) -> Any:  # noqa: FBT001
    import ctypes  # noqa: PLC0415 - where such a type arrives it is needed

    return ctypes.CFUNCTYPE(result, *arguments, use_errno=with_errno)
