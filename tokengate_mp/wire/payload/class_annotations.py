"""The annotations of classes, read without a trace in the class.

From Python 3.14 on annotations are evaluated when they are first asked for (PEP 649), and kept in
the class from then on; to ask a class without annotations leaves a trace too.
"""

from __future__ import annotations

from typing import Any, Final

KEPT: Final = frozenset({"__annotate_func__", "__annotations_cache__"})
"""Attributes of a class in which Python 3.14 and later keep what `annotations_of` returns."""


def annotations_of(cls: type) -> Any:
    """Return a class's own annotations, as text if names in them have no value yet; else None.

    They are not evaluated for good: a name that has no value now may have one later.
    """
    attributes = vars(cls)
    for name in ("__annotations__", "__annotations_cache__"):
        if name in attributes:
            return attributes[name]
    annotate = attributes.get("__annotate__") or attributes.get("__annotate_func__")
    return _evaluated(cls, annotate) if callable(annotate) else None


def _evaluated(cls: Any, annotate: Any) -> dict[str, Any]:
    from annotationlib import (  # type: ignore[import-not-found]  # noqa: PLC0415 - Python 3.14
        Format,
        call_annotate_function,
    )

    annotations: dict[str, Any]
    try:
        annotations = call_annotate_function(annotate, Format.VALUE, owner=cls)
    except Exception:  # noqa: BLE001 - it is code of the user
        annotations = call_annotate_function(annotate, Format.STRING, owner=cls)
    return annotations
