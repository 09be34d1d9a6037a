"""The attributes of a class, which it gets when it is there: they may refer to the class."""

from __future__ import annotations

import abc
import collections.abc
import contextlib
import copyreg
import functools
import io
import numbers
import os
from typing import Any, Final, NamedTuple

from tokengate_mp.wire.payload.class_annotations import KEPT, annotations_of
from tokengate_mp.wire.payload.classes import bare

_NOT_SENT: Final = frozenset(
    {
        "_abc_impl",  # the caches of an abstract base class; its register is sent
        "__msgspec_cache__",  # what msgspec has worked out for the class, and works out again
        "__slotnames__",  # copyreg's memory
    }
    | KEPT
)


class Contents(NamedTuple):
    """What a bare class lacks.

    Attributes:
        attributes: Its attributes.
        subclasses: Classes that were registered with it as its virtual subclasses.
        bases: Classes of the standard library that it was registered with as a virtual subclass.
        reducer: What was registered with `copyreg` to take its instances apart, if anything.
    """

    attributes: dict[str, Any]
    subclasses: list[Any]
    bases: list[Any]
    reducer: Any


def of(cls: type) -> Contents:
    """Return what a bare class like `cls` lacks."""
    attributes = {
        name: value
        for name, value in vars(cls).items()
        if name not in _NOT_SENT
        and name not in bare.FROM_THE_START
        and not bare.is_made_by_type(cls, name, value)
    }
    annotations = annotations_of(cls)
    if annotations is not None:
        attributes["__annotations__"] = annotations
    subclasses = _registered_with(cls) if isinstance(cls, abc.ABCMeta) else []
    bases = [base for base in _abstract() if any(found is cls for found in _registered_with(base))]
    reducer = None
    if type(cls).__hash__ is not None:
        reducer = copyreg.dispatch_table.get(cls)
    return Contents(attributes, subclasses, bases, reducer)


def _registered_with(base: Any) -> list[type]:
    references = abc._get_dump(base)[0]  # type: ignore[attr-defined]  # noqa: SLF001 - nowhere else
    return [subclass for found in references if (subclass := found()) is not None]


@functools.cache
def _abstract() -> list[Any]:
    """The abstract classes of the standard library with which other classes are registered."""
    return [
        value
        for module in (collections.abc, contextlib, io, numbers, os)
        for value in vars(module).values()
        if isinstance(value, abc.ABCMeta)
    ]


def fill(cls: Any, contents: Contents) -> None:
    """Give a bare class what it lacks."""
    for name, value in contents.attributes.items():
        bare.assign(cls, name, value)
    for subclass in contents.subclasses:
        abc.ABCMeta.register(cls, subclass)
    for base in contents.bases:
        base.register(cls)
    if contents.reducer is not None:
        copyreg.pickle(cls, contents.reducer)
