"""`__main__` in a core process: the script's, which is not run there.

What travels from the script is found in it under its own name (see `wire.payload.namespaces`). A
process that a call starts must not run the script either, as `multiprocessing` would have one do
that it spawns: the script may have no guard, and start coordinators. So such a process is told of
no script; functions and classes of the script go there by value, as they came here.
"""

from __future__ import annotations

import pickle
import sys
from types import FunctionType
from typing import Any

from tokengate_mp.wire.protocol.brief import MainBrief
from tokengate_mp.worker.process.imports import when_imported


def adopt_main(brief: MainBrief) -> None:
    """Make `__main__` that of the script, with nothing in it yet."""
    main = vars(sys.modules["__main__"])
    if not getattr(sys, "frozen", False):  # else it is the application's own, and was run so far
        for name in [name for name in main if not name.startswith("__")]:
            del main[name]
    when_imported("multiprocessing.reduction", _send_by_value)
    when_imported("multiprocessing.spawn", _spare_the_script)
    main["__doc__"] = brief.doc
    main["__package__"] = brief.package
    if brief.file is not None:
        main["__file__"] = brief.file
    if brief.spec is not None:
        # (Without a loader: nobody is to load it here.)
        main["__spec__"] = type(sys.__spec__)(brief.spec, None, origin=brief.file)


def _send_by_value() -> None:
    """Have `multiprocessing.reduction` send functions and classes of the script by value."""
    from multiprocessing.reduction import ForkingPickler  # noqa: PLC0415 - when it is loaded

    ForkingPickler.reducer_override = _reduce  # type: ignore[method-assign]


def _reduce(_pickler: object, thing: Any) -> Any:
    if not isinstance(thing, (FunctionType, type)) or thing.__module__ != "__main__":
        return NotImplemented
    from tokengate_mp.wire.payload.by_value import dumps  # noqa: PLC0415 - 40 ms, seldom needed

    return pickle.loads, (dumps(thing),)


def _spare_the_script() -> None:
    """Have `multiprocessing.spawn` tell a new process of no script."""
    spawn: Any = sys.modules["multiprocessing.spawn"]
    prepare = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        """Return what a new process is told, less where `__main__` is."""
        told: dict[str, Any] = prepare(name)
        told.pop("init_main_from_name", None)
        told.pop("init_main_from_path", None)
        return told

    spawn.get_preparation_data = get_preparation_data
