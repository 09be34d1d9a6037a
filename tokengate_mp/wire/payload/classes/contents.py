"""The attributes of a class, which it gets when it is there: they may refer to the class."""

from __future__ import annotations

import abc
import sys
from collections.abc import Mapping
from typing import Any, Final

from tokengate_mp.wire.payload.classes import bare

_NOT_SENT: Final = frozenset(
    {
        "_abc_impl",  # the caches of an abstract base class; its register is sent
        "__msgspec_cache__",  # what msgspec has worked out for the class, and works out again
        "__slotnames__",  # copyreg's memory
        "__module__",
        "__qualname__",
        "__orig_bases__",
        # Annotations that are evaluated when they are first asked for: see `_annotations`.
        "__annotate_func__",
        "__annotations_cache__",
    }
)


def of(cls: type) -> tuple[dict[str, Any], list[type]]:
    """Return the attributes that a bare class like `cls` lacks, and its virtual subclasses."""
    attributes = {
        name: value
        for name, value in vars(cls).items()
        if name not in _NOT_SENT and not bare.is_made_by_type(cls, name, value)
    }
    if sys.version_info >= (3, 14) and cls.__annotate__ is not None:
        attributes["__annotations__"] = _annotations(cls)
    registered: list[type] = []
    if isinstance(cls, abc.ABCMeta):
        references = abc._get_dump(cls)[0]  # type: ignore[attr-defined]  # noqa: SLF001 - nowhere else
        registered = [subclass for found in references if (subclass := found()) is not None]
    return attributes, registered


def _annotations(cls: Any) -> dict[str, Any]:
    """Return a class's annotations, as strings if there are names in them without a value yet.

    They are not kept for the class, as they are when the class is asked for them.
    """
    from annotationlib import (  # type: ignore[import-not-found]  # noqa: PLC0415 - Python 3.14
        Format,
        call_annotate_function,
    )

    annotations: dict[str, Any]
    try:
        annotations = call_annotate_function(cls.__annotate__, Format.VALUE, owner=cls)
    except Exception:  # noqa: BLE001 - it is code of the user
        annotations = call_annotate_function(cls.__annotate__, Format.STRING, owner=cls)
    return annotations


def fill(cls: type, attributes: Mapping[str, Any], registered: list[type]) -> None:
    """Give a bare class its attributes and virtual subclasses."""
    for name, value in attributes.items():
        bare.assign(cls, name, value)
    for subclass in registered:
        abc.ABCMeta.register(cls, subclass)  # type: ignore[arg-type]
