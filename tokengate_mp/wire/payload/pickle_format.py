"""The pickle format of payloads, and the names that a pickle for another process must not have."""

from __future__ import annotations

import sys
from collections.abc import Set as AbstractSet
from typing import Final

PROTOCOL: Final = 5
"""The protocol of every pickle: the first with buffers apart."""

MAIN: Final = b"__main__"
"""In each pickle that refers to `__main__`, which in a core process is another module."""

CONNECTION: Final = b"multiprocessing.connection"
"""In each pickle of an end of a pipe, which pickle takes for a plain object with a number."""


def means_another(pickled: bytes) -> bool:
    """Whether a pickle (or so it looks) has a name that is another thing in another process.

    Such are the names of `__main__`, of ends of pipes, and of modules that were registered with
    `cloudpickle.register_pickle_by_value`, which says that others cannot import them.
    """
    if MAIN in pickled or CONNECTION in pickled:
        return True
    registered = _registered()
    return bool(registered) and any(name.encode() in pickled for name in registered)


def is_registered(module: str) -> bool:
    """Whether a module, or a package it is in, was registered to be pickled by value."""
    registered = _registered()
    while registered and module:
        if module in registered:
            return True
        module = module.rpartition(".")[0]
    return False


def _registered() -> AbstractSet[str]:
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    if cloudpickle is None:
        return frozenset()
    # Not by the function that returns a copy: this is asked for each payload.
    modules: AbstractSet[str] = cloudpickle._PICKLE_BY_VALUE_MODULES  # noqa: SLF001
    return modules
