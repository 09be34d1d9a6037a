"""Bare classes: with name, bases and slots, made without asking anyone.

What takes part in the making of a class (the metaclass's `__new__` and `__init__`,
`__init_subclass__` of the bases, `__set_name__` of attributes) has done so where the class is
from. What came of it is among the class's attributes, or those of its bases and metaclass, and
travels with these. To run it again would find a class that has no attributes yet, do without the
keywords of the class statement, and enter the class in a register twice.
"""

from __future__ import annotations

import abc
import contextlib
import sys
from collections.abc import Iterator
from threading import get_ident
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

HOOK: Final = "__init_subclass__"

_HEAP, _IMMUTABLE = 1 << 9, 1 << 8
"""Flags of types (Py_TPFLAGS_HEAPTYPE, Py_TPFLAGS_IMMUTABLETYPE)."""

_OF_THE_TYPE: Final = frozenset(
    name
    for name, value in vars(type).items()
    if isinstance(value, (GetSetDescriptorType, MemberDescriptorType))
) - {"__abstractmethods__", "__annotations__", "__annotate__", "__doc__"}
"""Attributes that a class cannot be given later: the type has its own of these names."""

FROM_THE_START: Final = _OF_THE_TYPE | {"__orig_bases__", "__classcell__"}
"""Attributes that a class has from the start, or never."""


def is_builtin(cls: type) -> bool:
    """Whether a type is the interpreter's own or an extension's, made before all scripts."""
    return not cls.__flags__ & _HEAP


def arguments_of(cls: type) -> tuple[Any, ...]:
    """The arguments of `make` for a class like this, without its attributes."""
    attributes = vars(cls)
    namespace = {
        name: value
        for name, value in attributes.items()
        if name in FROM_THE_START and not is_made_by_type(cls, name, value)
    }
    namespace["__qualname__"] = cls.__qualname__
    if "__slots__" in attributes:
        # By their descriptors: what was given as __slots__ may be an iterator, or used up.
        namespace["__slots__"] = tuple(
            name for name, value in attributes.items() if is_made_by_type(cls, name, value)
        )
    return type(cls), type.__dict__["__name__"].__get__(cls), cls.__bases__, namespace


def is_made_by_type(cls: type, name: str, value: object) -> bool:
    """Whether an attribute is a descriptor of a slot, of `__dict__` or of `__weakref__`."""
    if type(value) not in {GetSetDescriptorType, MemberDescriptorType}:
        return False
    # From Python 3.15 on all classes share those of `__dict__` and `__weakref__`.
    home = value.__objclass__  # type: ignore[attr-defined]
    shared = home is object and name in {"__dict__", "__weakref__"}
    return (home is cls or shared) and value.__name__ == name  # type: ignore[attr-defined]


def make(metaclass: Any, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
    """Make a class, and run nobody's code."""
    with quiet(bases):
        made: type = type.__new__(metaclass, name, bases, interned(namespace))
    if issubclass(metaclass, abc.ABCMeta):
        abc._abc_init(made)  # type: ignore[attr-defined]  # noqa: SLF001 - as ABCMeta.__new__
        # What is abstract is among its attributes; until then an enum may make its members.
        assign(made, "__abstractmethods__", frozenset())
    return made


def interned(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return a class's first attributes with one text for all classes of its module.

    So it is where they are from, and pickles refer to it by its place in memory: equal instances
    have equal pickles. (To set it later would take the class's first line from it.)
    """
    module = namespace.get("__module__")
    if type(module) is str:
        namespace["__module__"] = sys.intern(module)
    return namespace


@contextlib.contextmanager
def quiet(bases: tuple[type, ...]) -> Iterator[None]:
    """Let this thread make classes of these bases without their `__init_subclass__`.

    Other threads do not notice. (There is no other way: `type.__new__` looks that method up in the
    bases, and a class cannot get other bases later.)
    """
    here = get_ident()
    owners = dict.fromkeys(
        owner
        for base in bases
        for owner in base.__mro__
        if HOOK in vars(owner) and owner.__flags__ & (_HEAP | _IMMUTABLE) == _HEAP
    )
    hooks = [(owner, vars(owner)[HOOK]) for owner in owners]

    def in_place_of(hook: Any) -> Any:
        def run(cls: Any, /, **keywords: Any) -> None:
            if get_ident() != here:
                hook.__get__(None, cls)(**keywords)

        return classmethod(run)

    try:
        for owner, hook in hooks:
            assign(owner, HOOK, in_place_of(hook))
        yield
    finally:
        for owner, hook in hooks:
            assign(owner, HOOK, hook)


def assign(cls: type, name: str, value: object) -> None:
    """Give a class an attribute, whatever its metaclass has to say about that."""
    try:
        type.__setattr__(cls, name, value)
    except TypeError:  # metaclasses in C that have more to do, as that of ctypes.Structure
        setattr(cls, name, value)
