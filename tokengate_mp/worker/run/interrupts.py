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
from typing import Final, Self

from tokengate_mp.worker.run.with_entry import enters_with

_raise_in: Final[Callable[..., int]] = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Interrupted(BaseException):
    """Raised in the middle of a token that was ended from outside.

    No `Exception`, so that a function which catches those goes on to its end all the same. A
    function that catches this, too, and does not come to an end, is ended with its process.
    """


class Interrupts:
    """Which token each slot runs, and which tokens are to be interrupted.

    Args:
        threads: How many crew threads there are.

    Attributes:
        running: By slot, the token that the thread may be interrupted in, or 0. Stored by the
            threads.
        asked: By slot, the token that the thread was or is about to be interrupted in, or 0.
        unwanted: Tokens that were ended before they began, or while they were out of reach.
        postponed: Tokens that are to be interrupted some milliseconds later (see `with_entry`).
    """

    __slots__ = (
        "_forgettable",
        "_free",
        "_idents",
        "_lock",
        "_stepped_out",
        "asked",
        "postponed",
        "running",
        "unwanted",
    )

    def __init__(self, threads: int) -> None:
        self.running = [0] * threads
        self.asked = [0] * threads
        self.unwanted: set[int] = set()
        self.postponed: set[int] = set()
        self._forgettable: set[int] = set()
        self._stepped_out: set[int] = set()
        self._idents = [0] * threads
        self._lock = threading.Lock()
        self._free: list[int] = []

    def hire_slot(self) -> int:
        """Give the calling thread a slot: a thread outside the crew that runs a token."""
        with self._lock:
            if self._free:
                slot = self._free.pop()
            else:
                slot = len(self.running)
                self._idents.append(0)
                self.asked.append(0)
                self.running.append(0)
        self.enlist_thread(slot)
        return slot

    def release_slot(self, slot: int) -> None:
        """Take back a slot that was hired."""
        with self._lock:
            self._free.append(slot)

    def enlist_thread(self, slot: int) -> None:
        """Note the calling thread as the thread of that slot."""
        self._idents[slot] = threading.get_ident()

    def forget_unwanted(self) -> None:
        """Forget numbers of unwanted tokens; called when no token is left that could begin.

        Kept are numbers that have come since the last such call: a thread may just be about to
        begin that token, or the mail bring it. And those of tokens that have stepped out: however
        long that lasts, they find out when they step in.
        """
        self.unwanted.difference_update(self._forgettable - self._stepped_out)
        self._forgettable = set(self.unwanted)

    # ---- the control thread

    def end_token(self, number: int) -> None:
        """Interrupt a token, now or at its beginning."""
        # In this order: see above.
        self.unwanted.add(number)
        if self._interrupt_running(number):
            self.unwanted.discard(number)

    def interrupt_postponed(self) -> None:
        """Interrupt the tokens that could not be interrupted before."""
        for number in tuple(self.postponed):
            self.postponed.discard(number)
            if self._interrupt_running(number):
                self.unwanted.discard(number)

    def _interrupt_running(self, number: int) -> bool:
        with self._lock:
            if number in self.asked:
                return True  # once: a second one would come when the first is being dealt with
            try:
                slot = self.running.index(number)
            except ValueError:
                return False
            self.asked[slot] = number
            if self.running[slot] != number:
                # It has left just now, and may not have seen this: the next one there must not.
                self.asked[slot] = 0
                return False
            if enters_with(self._idents[slot]):
                self.asked[slot] = 0
                self.postponed.add(number)
                return False
            _set(self._idents[slot], Interrupted)
            return True

    # ---- the thread itself

    def refuse_unwanted(self, number: int) -> None:
        """Check that a token which is about to begin is wanted still.

        Raises:
            Interrupted: The token was ended meanwhile.
        """
        if number in self.unwanted:
            self.unwanted.discard(number)
            raise Interrupted

    def step_out(self, slot: int) -> int:
        """Leave reach for a while, in the middle of a token; return its number, for `step_in`."""
        number = self.running[slot]
        if not number:
            return 0
        # Before it is out of reach: from then on only its number in `unwanted` ends it.
        self._stepped_out.add(number)
        self.running[slot] = 0
        if self.asked[slot] == number:  # and no other: control may just find out that one has left
            # Not lost: it is unwanted now, and finds out when it steps in again.
            self.unwanted.add(number)
            self._take_back(slot)
        return number

    def step_in(self, slot: int, number: int) -> None:
        """Come within reach again.

        Raises:
            Interrupted: The token was ended meanwhile.
        """
        self.running[slot] = number
        try:
            if self.unwanted:
                self.refuse_unwanted(number)
        finally:  # and not before: `forget_unwanted` could come in between
            self._stepped_out.discard(number)

    def leave_reach(self, slot: int, number: int) -> None:
        """Leave reach for good, and take back an exception that was raised and has not arrived."""
        self.running[slot] = 0
        # It may have been hit in the middle of `step_out`, and then nothing steps in.
        self._stepped_out.discard(number)
        if self.asked[slot]:
            self._take_back(slot)

    def _take_back(self, slot: int) -> None:
        with self._lock:
            _set(self._idents[slot], None)
        self.asked[slot] = 0


class Shield:
    """Keeps a thread out of reach while its token does something that must not break off.

    Args:
        interrupts: Those of the process.
        slot: The slot of the thread; None if it runs no token.

    Attributes:
        number: The token that the thread runs; 0 for none.
    """

    __slots__ = ("_interrupts", "_slot", "number")

    def __init__(self, interrupts: Interrupts, slot: int | None) -> None:
        self._interrupts = interrupts
        self._slot = slot
        self.number = 0

    def __enter__(self) -> Self:
        if self._slot is not None:
            self.number = self._interrupts.step_out(self._slot)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._slot is not None and self.number:
            self._interrupts.step_in(self._slot, self.number)


def _set(ident: int, error: type[Interrupted] | None) -> None:
    _raise_in(ctypes.c_ulong(ident), None if error is None else ctypes.py_object(error))
