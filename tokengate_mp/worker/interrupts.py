"""Ending a token that runs: an exception raised in the middle of its function.

The control thread raises it, in the thread that runs the token. It arrives between two bytecodes,
wherever that thread then is; so what has to be exact is that it never arrives anywhere but in that
token. The thread says when it enters and leaves the only place where it may be hit:

    thread:   running[slot] = number; unwanted?; … the function …; running[slot] = 0; asked[slot]?
    control:  unwanted.add(number); asked[slot] = number; running[slot] == number?; raise

Python runs one thread at a time, so these happen in some order. Either control finds that the
thread has left, and raises nothing; or the thread finds that it was asked for, waits until control
is done, and takes back what has not arrived. In the same way a token that is about to begin either
finds itself unwanted, or is found running.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Final

_raise_in: Final[Callable[..., int]] = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Interrupted(BaseException):
    """The token was ended from outside.

    No `Exception`, so that a function which catches those goes on to its end all the same. One that
    catches this, too, and does not come to an end, is ended with its process.
    """


class Interrupts:
    """Who runs what, and who is to be interrupted.

    Args:
        threads: How many crew threads there are.

    Attributes:
        running: The token that each may be interrupted in, or 0. Stored by the threads.
        asked: The token that each was or is about to be interrupted in, or 0.
        unwanted: Tokens that were ended before they began.
    """

    __slots__ = ("_idents", "_lock", "asked", "running", "unwanted")

    def __init__(self, threads: int) -> None:
        self.running = [0] * threads
        self.asked = [0] * threads
        self.unwanted: set[int] = set()
        self._idents = [0] * threads
        self._lock = threading.Lock()

    def enlist(self, slot: int) -> None:
        """This thread is the one of that slot."""
        self._idents[slot] = threading.get_ident()

    # ---- the control thread

    def end(self, number: int) -> None:
        """Interrupt a token, now or as soon as it begins."""
        # In this order: see above.
        self.unwanted.add(number)
        if self._interrupt(number):
            self.unwanted.discard(number)

    def _interrupt(self, number: int) -> bool:
        with self._lock:
            if number in self.asked:
                return True  # once: a second one would come when the first is being dealt with
            try:
                slot = self.running.index(number)
            except ValueError:
                return False
            self.asked[slot] = number
            if self.running[slot] != number:  # it has left just now
                return False
            _set(self._idents[slot], Interrupted)
            return True

    # ---- the thread itself

    def refuse_unwanted(self, number: int) -> None:
        """About to begin.

        Raises:
            Interrupted: It is not wanted any more.
        """
        if number in self.unwanted:
            self.unwanted.discard(number)
            raise Interrupted

    def leave(self, slot: int) -> None:
        """Out of reach from here on; what was raised and has not arrived is taken back."""
        self.running[slot] = 0
        if self.asked[slot]:
            with self._lock:
                _set(self._idents[slot], None)
            self.asked[slot] = 0


def _set(ident: int, error: type[Interrupted] | None) -> None:
    _raise_in(ctypes.c_ulong(ident), None if error is None else ctypes.py_object(error))
