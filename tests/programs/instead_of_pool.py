"""Runs a program on `TokenGateExecutor`, wherever it asks for a ProcessPoolExecutor.

    python instead_of_pool.py FILE (-m MODULE | SCRIPT) ARGUMENTS

How many calls core processes have completed goes into FILE.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import concurrent.futures.process
import runpy
import sys
from pathlib import Path

import tokengate_mp

_executors = []


class Counted(tokengate_mp.TokenGateExecutor):
    """An executor that is known here."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _executors.append(self)


def _count(file):
    calls = sum(each.get_stats()["tokens"]["completed"] for each in _executors)
    Path(file).write_text(str(calls), encoding="utf-8")


if __name__ == "__main__":
    _, file, what, *rest = sys.argv
    concurrent.futures.ProcessPoolExecutor = Counted
    concurrent.futures.process.ProcessPoolExecutor = Counted
    atexit.register(_count, file)
    if what == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [what, *rest]
        runpy.run_path(what, run_name="__main__")
