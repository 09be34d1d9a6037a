"""The module search path of core processes: that of this process, wherever they look from.

A relative entry means another directory after `os.chdir`, while the modules that were imported
through it stay. So a core process gets the directory that was meant.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import FileFinder

from tokengate_mp.this_process import start_directory


def search_path() -> list[str]:
    """`sys.path` as a core process needs it: each relative entry by the directory it stands for.

    The empty entry stands for the directory of the start of the program, as for the processes that
    `multiprocessing` starts, and for the present one. Python ignores what is no text; paths that
    are objects are what they were meant for. (With a zero in an entry, which no file system has,
    Python would fail to import what comes after.)
    """
    found: list[str] = []
    for entry in list(getattr(sys, "path", ())):
        # (A subclass may have methods of its own, and is not what is sent.)
        if isinstance(entry, str):
            found += _resolved(str.__str__(entry))
        elif isinstance(entry, os.PathLike):
            found.append(os.fsdecode(entry))
    return [entry for entry in found if "\0" not in entry]


def _resolved(entry: str) -> list[str]:
    if os.path.isabs(entry):
        return [entry]
    start = start_directory()
    if not entry:
        return list(dict.fromkeys([start or entry, _present() or start or entry]))
    finder = sys.path_importer_cache.get(entry)
    if type(finder) is FileFinder:  # made when the entry was first looked at
        return [os.path.abspath(finder.path)]
    for directory in (start, _present()):
        if directory is not None and os.path.exists(there := os.path.join(directory, entry)):
            return [os.path.abspath(there)]
    return [entry]  # the mark of an import hook, say


def _present() -> str | None:
    """The working directory; None if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return None
