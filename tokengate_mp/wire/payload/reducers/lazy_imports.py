"""Names that were imported lazily (PEP 810, Python 3.15) and not used yet: they arrive imported."""

from __future__ import annotations

import types
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final


def _imported(value: Any, module: str | None) -> Any:
    if module is not None:
        import_module(module)
    return value


def _reduce_lazy(lazy: Any) -> tuple[Any, ...]:
    # Whether it stands for a module or for something in one is not known before it is imported.
    value = lazy.resolve()
    # `import package.module` stands for the package, which imports the module when that is used.
    name = repr(lazy).partition("'")[2].rpartition("'")[0]
    within = isinstance(value, types.ModuleType) and name.startswith(f"{value.__name__}.")
    return _imported, (value, name if within else None)


_lazy_import: Any = getattr(types, "LazyImportType", None)

REDUCERS: Final[dict[type, Callable[[Any], Any]]] = (
    {} if _lazy_import is None else {_lazy_import: _reduce_lazy}
)
"""The reducer of lazy imports, where there are any."""
