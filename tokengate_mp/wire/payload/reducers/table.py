"""The table of reducers: for each exact type, the function that takes an object of it apart."""

from __future__ import annotations

import io
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import CodeType
from typing import Any, Final

import cloudpickle

from tokengate_mp.wire.payload import variables
from tokengate_mp.wire.payload.reducers import (
    code,
    files,
    inherited,
    lazy_imports,
    marks,
    memory,
    process_bound,
    standard,
)

REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    CodeType: code.reduce_code,
    memoryview: memory.reduce_view,
    io.TextIOWrapper: files.reduce_text_file,
    ContextVar: variables.reduce_variable,
    **lazy_imports.REDUCERS,
    **marks.REDUCERS,
    **process_bound.REDUCERS,
    **standard.REDUCERS,
}

_TABLE: Final = ChainMap(REDUCERS, cloudpickle.Pickler.dispatch_table)

_looked_at = 0


def table() -> Mapping[type, Callable[[Any], Any]]:
    """Return the reducers for a pickle that is made now, cloudpickle's among them."""
    global _looked_at  # noqa: PLW0603 - of this process
    loaded = len(sys.modules)
    if loaded != _looked_at:
        _looked_at = loaded
        REDUCERS.update(process_bound.of_loaded_modules())
    context = sys.modules.get("multiprocessing.context")
    if context is None or context.get_spawning_popen() is None:
        return _TABLE
    theirs = inherited.reducers()
    for kind in cloudpickle.Pickler.dispatch_table:  # which knows what is of `__main__`
        theirs.pop(kind, None)
    return ChainMap(theirs, _TABLE)
