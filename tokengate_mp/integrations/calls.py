"""Calls of joblib, as a core process makes them.

joblib's own way would have every core process import joblib before its first call, which takes
longer than starting the process. So calls come as they are, and joblib, if it is loaded here or
gets loaded by one of them, is told then what a `Parallel` within a call is to do: what its backend
for this level of nesting says, and never start processes of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final, NamedTuple

from tokengate_mp.wire.payload.definition import resolve
from tokengate_mp.wire.payload.namespaces.arrivals import Arrivals, loaded

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""What is called (the index of its definition, or a callable), and with what."""

_JOBLIB: Final = "joblib.parallel"


@lru_cache(maxsize=64)
def _resolved(definition: bytes) -> tuple[Callable[..., Any], Arrivals]:
    """Load a function, which is made once in a process, for as long as it is in use."""
    return loaded(lambda: resolve(definition))


def _function(definition: bytes) -> Callable[..., Any]:
    """Return a function, with its global variables bound as they came with it."""
    function, arrivals = _resolved(definition)
    arrivals.bind_for()
    return function


class Interruption(NamedTuple):
    """A KeyboardInterrupt that a call has raised.

    Nothing else in a program raises that but Ctrl-C. So it goes to the caller of `Parallel` alone,
    as a value, and not through an event loop, which it would stop.

    Attributes:
        arguments: What it was made with.
        traceback: Its traceback in the core process.
    """

    arguments: tuple[Any, ...]
    traceback: str


def run_calls(
    level: int, nest: bytes, definitions: tuple[bytes, ...], calls: Sequence[Call]
) -> list[Any] | Interruption:
    """Make calls, in a core process.

    Args:
        level: How many `Parallel` the calls are in.
        nest: Definition of the function that tells joblib how deep it is nested here. (It stands in
            the backend's module, which is loaded with joblib, and not before.)
        definitions: The functions that are called by their index here.
        calls: The calls.

    Raises:
        Exception: What the first call raised that did not return.
    """
    functions = [_function(definition) for definition in definitions]
    try:
        with _nested(level, nest):
            return [
                (functions[function] if type(function) is int else function)(*args, **kwargs)
                for function, args, kwargs in calls
            ]
    except KeyboardInterrupt as error:
        from traceback import format_exception  # noqa: PLC0415 - ms that only failures should pay

        return Interruption(error.args, "".join(format_exception(error)))


@contextmanager
def _nested(level: int, nest: bytes) -> Generator[None]:
    """Tell joblib, if loaded within the block, how deep each `Parallel` is nested."""
    nesting = _Nesting(level, nest)
    joblib = sys.modules.get(_JOBLIB)
    if joblib is not None:
        nesting.configure_joblib(joblib)
    else:
        sys.meta_path.insert(0, nesting)
    try:
        yield
    finally:
        nesting.restore_joblib()


class _Nesting:
    """Tells joblib how deep `Parallel` is nested, now or when joblib is loaded.

    Args:
        level: How many `Parallel` this process is in.
        nest: Definition of what is called with joblib and the level, and gives its configuration.
    """

    def __init__(self, level: int, nest: bytes) -> None:
        self._level = level
        self._nest = nest
        self._config: Any = None

    def configure_joblib(self, joblib: ModuleType) -> None:
        """Tell joblib's module, whose package may be only half loaded."""
        self._config = resolve(self._nest)(joblib, self._level)

    def restore_joblib(self) -> None:
        """Give joblib the configuration back that was there before."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._config is not None:
            self._config.unregister()

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        """Find joblib's module by way of the other finders, and configure joblib once loaded."""
        if name != _JOBLIB:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        loader = None if spec is None else spec.loader
        if loader is not None:
            load: Callable[[ModuleType], None] = loader.exec_module

            def load_and_configure(module: ModuleType) -> None:
                load(module)
                self.configure_joblib(module)

            loader.exec_module = load_and_configure  # type: ignore[method-assign]
        return spec
