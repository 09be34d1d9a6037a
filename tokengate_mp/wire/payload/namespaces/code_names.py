"""The global names that code refers to, as far as the code itself says which."""

from __future__ import annotations

import dis
import typing
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, Final

_OPTIMIZED: Final = 1
"""Flag of the code of functions (`inspect.CO_OPTIMIZED`), and not of the bodies of classes."""

_GLOBAL: Final = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"})

_BY_NAME: Final = frozenset({"LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
"""How the body of a class looks a name up: in the class, and then among the globals."""


@lru_cache(maxsize=4096)
def names_in(code: CodeType) -> frozenset[str]:
    """Return the global names in a code object, and in code that the code object makes."""
    wanted = _GLOBAL if code.co_flags & _OPTIMIZED else _GLOBAL | _BY_NAME
    names = {each.argval for each in dis.get_instructions(code) if each.opname in wanted}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return frozenset(names)


def names_in_annotations(annotations: object) -> set[str]:
    """Return the global names in annotations that are text, or have parts that are.

    Whoever resolves them (`typing.get_type_hints`, pydantic) looks these names up.
    """
    names: set[str] = set()
    if isinstance(annotations, Mapping):
        for annotation in annotations.values():
            for text in _texts(annotation, 8):
                names |= _names_in_text(text)
    return names


def _texts(annotation: Any, depth: int) -> Iterator[str]:
    if type(annotation) is str:
        yield annotation
    elif isinstance(annotation, typing.ForwardRef):
        yield annotation.__forward_arg__
    elif depth:
        parts = getattr(annotation, "__args__", None)
        if type(parts) is tuple:
            for part in parts:
                yield from _texts(part, depth - 1)


@lru_cache(maxsize=4096)
def _names_in_text(text: str) -> frozenset[str]:
    try:
        return frozenset(compile(text, "<annotation>", "eval").co_names)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return frozenset()
