"""Files of modules, by which two processes tell whether one name means the same module in both.

A core process imports by name, and finds by the search path. That may have been in another order
when the parent imported: then the name stands for something else, and so would the result.
"""

from __future__ import annotations

import os
import sys

from tokengate_mp.errors import PayloadError
from tokengate_mp.this_process import start_directory


def file_of(name: str) -> str | None:
    """The file of an imported module; None if there is none, or it says nothing.

    (A frozen application may unpack its modules anew for each process.)
    """
    if getattr(sys, "frozen", False):
        return None
    try:
        file = sys.modules[name].__file__
    except Exception:  # noqa: BLE001 - it may be any object, with a `__getattr__` of its own
        return None
    if not isinstance(file, str) or not file.isprintable():  # such text does not travel
        return None
    return os.path.join(start_directory() or "", file)


def check_file(name: str, file: str | None) -> None:
    """Check that a module that was imported here by name is that of another process.

    Args:
        name: The module's name.
        file: Its file there; None if there is none.

    Raises:
        PayloadError: It is another module.
    """
    if file is None:
        return
    here = file_of(name)
    if here == file or getattr(sys, "frozen", False):
        return
    if here is None or os.path.realpath(here) != os.path.realpath(file):
        raise PayloadError(
            f"module {name!r} is another one in a core process: the caller has it from {file!r}, "
            f"and here it is found at {here!r}. Let sys.path say the same as when the module was "
            "imported, or give one of the two another name."
        )
