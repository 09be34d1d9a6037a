"""Waiting for a token inside a token, so that the core always goes on.

A thread that waits for a token gives up its place in the crew, and claims the token from the
parent. Should its request come to this process, or lie here already, the waiting thread runs it
itself, on top of the one that it is running. It runs no other: so what stands on a thread's stack
is a chain of tokens each of which waits for the next, and a cycle of waits can only be one of the
user's own.

Since a thread that is waiting takes no mail, and what it waits for comes with the mail, one of
those that wait reads it whenever no thread of the crew does.

Exact accounting. A token that is run on top of another one has no word of the status page: a record
says that it is begun, and on top of which, before it is. Like an outcome, that outlives the
process.
"""

from __future__ import annotations

import threading
import time
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from tokengate_mp.wire.channel.doorbell import MAX_SLEEP
from tokengate_mp.wire.protocol.records import CLAIM, Request, encode
from tokengate_mp.worker.nested.nesting import NestingCrew
from tokengate_mp.worker.run.invoke import pauses

if TYPE_CHECKING:
    from tokengate_mp.worker.nested.child_token import ChildToken

NESTED: Final = 24
"""How many tokens a thread runs on top of each other; the next one gets a thread of its own.

Each takes some seven frames of Python's stack, of which there are 1,000 unless the user says else.
"""


class Waiting:
    """Waits for tokens, in whatever thread asks.

    Args:
        crew: The crew of this process.
    """

    def __init__(self, crew: NestingCrew) -> None:
        self._crew = crew

    def at_once(self, token: ChildToken, request: Request) -> None:
        """Run a token that was made here, if it can be run right now in this very thread."""
        crew = self._crew
        here, interrupts = crew.here, crew.interrupts
        slot = here.reach
        if slot is None or here.depth >= NESTED:
            return
        number = interrupts.step_out(slot)
        here.depth += 1
        try:
            if number not in interrupts.unwanted:
                crew.run_at_once(token, request, slot, number)
        finally:
            here.depth -= 1
            if number:
                interrupts.step_in(slot, number)

    def until(self, token: ChildToken, deadline: float | None) -> bool:
        """Wait until a token has ended, or has a hint; False if neither by the deadline, s."""
        with self._crew.shield() as shield:
            return self._until(token, deadline, shield.number)

    def _until(self, token: ChildToken, deadline: float | None, waiting: int) -> bool:
        crew = self._crew
        begun = monotonic_ns()
        absence = _Absence(crew)
        claimed = False
        crew.await_token(token)
        try:
            while not (token.done() or token.hint or crew.is_unwanted(waiting)):
                request = crew.request_of(token)
                if request is not None:
                    absence.end()
                    pauses.add(monotonic_ns() - begun)
                    self._run(token, request, waiting)
                    begun = monotonic_ns()
                    continue
                left = MAX_SLEEP if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return False
                absence.begin()
                if not claimed:
                    claimed = True
                    claim = encode((token.number, CLAIM, waiting, 0, 0))
                    crew.say(token.number, claim, urgent=True)
                if not crew.read_mail(token, min(left, MAX_SLEEP)):
                    crew.await_change(token, min(left, MAX_SLEEP))
        finally:
            crew.await_no_more(token)
            absence.end()
            pauses.add(monotonic_ns() - begun)
        return True

    def _run(self, token: ChildToken, request: Request, waiting: int) -> None:
        """Run a token on top of the one that this thread is running, whose number is `waiting`."""
        here = self._crew.here
        if here.depth < NESTED:
            here.depth += 1
            try:
                self._run_here(token, request, waiting)
            finally:
                here.depth -= 1
            return
        slot = self._crew.here.slot

        def run() -> None:
            self._crew.here.slot = slot  # it acts for this one
            self._run_here(token, request, waiting)

        thread = threading.Thread(target=run, name="tokengate-nested", daemon=True)
        thread.start()
        thread.join()

    def _run_here(self, token: ChildToken, request: Request, waiting: int) -> None:
        token.begun = True
        self._crew.untold.begin(request.number, waiting)
        self._crew.run_apart(request)


class _Absence:
    """A thread's time away from its place in the crew."""

    __slots__ = ("_away", "_crew", "_slot")

    def __init__(self, crew: NestingCrew) -> None:
        self._crew = crew
        self._slot = crew.here.slot
        self._away = False

    def begin(self) -> None:
        """The thread waits. A thread of the user's own has no place to leave."""
        if self._slot is not None and not self._away:
            self._away = True
            self._crew.absent(self._slot)

    def end(self) -> None:
        """The thread goes on."""
        if self._slot is not None and self._away:
            self._away = False
            self._crew.present(self._slot)
