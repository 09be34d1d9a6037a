"""The table of reducers: for each exact type, the function that takes an object of it apart."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import CodeType
from typing import Any, Final

from tokengate_mp.wire.payload import variables
from tokengate_mp.wire.payload.reducers import code, files, marks, memory, process_bound, references

REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    CodeType: code.reduce_code,
    memoryview: memory.reduce_view,
    io.TextIOWrapper: files.reduce_text_file,
    ContextVar: variables.reduce_variable,
    **marks.REDUCERS,
    **process_bound.REDUCERS,
    **references.REDUCERS,
}

_looked_at = 0


def complete() -> None:
    """Add the reducers for types of modules that were loaded since."""
    global _looked_at  # noqa: PLW0603 - of this process
    loaded = len(sys.modules)
    if loaded != _looked_at:
        _looked_at = loaded
        REDUCERS.update(process_bound.of_loaded_modules())
