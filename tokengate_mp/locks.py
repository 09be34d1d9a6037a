"""Locks that an exception from outside leaves free.

Ctrl-C in the main thread, and the interruption of a token, raise between two instructions. On
Python 3.14 that may be between taking a lock, in `with lock:`, and entering the block that gives it
back (3.15 has mended that): whoever wants the lock next would wait for ever.
"""

from __future__ import annotations

import sys
import threading
from _thread import RLock
from typing import Any

LEAKY_WITH = sys.version_info[:2] == (3, 14)
"""Whether an exception may come between the taking of a lock and the block under it."""


class _WholeLock(RLock):  # type: ignore[misc]  # final for type checkers alone
    """A reentrant lock that is not held after an exception came when it was taken.

    Only the way in is Python code, where it can be told whether the lock was taken. (The way out
    must not be: an exception might come before its first line.)
    """

    __slots__ = ()

    def __enter__(self) -> bool:  # type: ignore[override]  # as `with` calls it
        held: int = self._recursion_count()  # type: ignore[attr-defined]  # as a Condition uses
        try:
            return bool(self.acquire())
        except BaseException:
            if self._recursion_count() > held:  # type: ignore[attr-defined]
                self.release()
            raise


def new_lock() -> Any:
    """Make a reentrant lock for threads that exceptions from outside may come to."""
    return _WholeLock() if LEAKY_WITH else threading.RLock()
