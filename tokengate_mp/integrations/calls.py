"""Calls of joblib, as a core process makes them.

joblib's own way would have every core process import joblib before its first call, which takes
longer than starting the process. So calls come as they are, and joblib, if it is loaded here or
gets loaded by one of them, is told then what a `Parallel` within a call is to do: what its backend
for this level of nesting says, and never start processes of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from tokengate_mp.wire.payload.definition import resolve

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""What is called (the place of its definition, or a callable), and with what."""

THREAD_LIMITS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_JOBLIB: Final = "joblib.parallel"

_resolved = lru_cache(maxsize=64)(resolve)
"""A function that travels by value is made once in a process, for as long as it is in use."""


def run_calls(level: int, definitions: tuple[bytes, ...], calls: Sequence[Call]) -> list[Any]:
    """Make calls, in a core process.

    Args:
        level: How many `Parallel` they are in.
        definitions: The functions that are called by their place here.
        calls: The calls.

    Raises:
        Exception: Whatever the first one raises that does.
    """
    functions = [_resolved(definition) for definition in definitions]
    with _nested(level):
        return [
            (functions[function] if type(function) is int else function)(*args, **kwargs)
            for function, args, kwargs in calls
        ]


def limit_threads(count: int) -> None:
    """Let numeric libraries that are loaded from now on use so many threads."""
    os.environ.update(dict.fromkeys(THREAD_LIMITS, str(count)))


@contextmanager
def _nested(level: int) -> Generator[None]:
    """Have each `Parallel` within this block know how deep it is."""
    nesting = _Nesting(level)
    joblib = sys.modules.get(_JOBLIB)
    if joblib is not None:
        nesting.begin(joblib)
    else:
        sys.meta_path.insert(0, nesting)
    try:
        yield
    finally:
        nesting.end()


class _Nesting:
    """Tells joblib how deep it is; and, as a finder of modules, does so when it gets loaded."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._config: Any = None

    def begin(self, joblib: ModuleType) -> None:
        """Tell it, whose package may be only half loaded."""
        from tokengate_mp.integrations.joblib_backend import NAME, TokenGateBackend  # noqa: PLC0415

        joblib.register_parallel_backend(NAME, TokenGateBackend)
        nested = joblib.ThreadingBackend if self._level <= 1 else joblib.SequentialBackend
        self._config = joblib.parallel_config(nested(nesting_level=self._level), n_jobs=None)

    def end(self) -> None:
        """Have it as it was."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._config is not None:
            self._config.unregister()

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """Find joblib's module, by way of the others, and be told when it is loaded."""
        if name != _JOBLIB:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        loader = None if spec is None else spec.loader
        if loader is not None:
            load: Callable[[ModuleType], None] = loader.exec_module

            def load_and_begin(module: ModuleType) -> None:
                load(module)
                self.begin(module)

            loader.exec_module = load_and_begin  # type: ignore[method-assign]
        return spec
