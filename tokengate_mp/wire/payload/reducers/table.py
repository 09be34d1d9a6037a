"""The table of reducers: for each exact type, the function that takes an object of it apart."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextvars import ContextVar
from types import CodeType
from typing import Any, Final

from tokengate_mp.wire.payload import variables
from tokengate_mp.wire.payload.reducers import code, files, marks, memory

REDUCERS: Final[dict[type, Callable[[Any], Any]]] = {
    CodeType: code.reduce_code,
    memoryview: memory.reduce_view,
    io.TextIOWrapper: files.reduce_text_file,
    ContextVar: variables.reduce_variable,
    **marks.REDUCERS,
}
