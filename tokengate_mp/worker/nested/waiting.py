"""Waiting for a token inside a token, so that the core always goes on.

A thread that waits for a token gives up the run slot, and claims the token from the parent. Should
its request come to this process, or lie here already, the waiting thread runs it itself, on top of
the one that it is running. It runs no other: so what stands on a thread's stack is a chain of
tokens each of which waits for the next, and a cycle of waits can only be one of the user's own.
(An exclusive token is run by the main thread alone, whichever thread waits for it; and by that,
should it wait itself, on top of what it is running. `exclusion` says when, and why that ends.)

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
from typing import Final

from tokengate_mp.wire.channel.doorbell import MAX_SLEEP
from tokengate_mp.wire.protocol.records import CLAIM, Request, encode
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.crew.run_slot import MAIN
from tokengate_mp.worker.nested.absence import Absence
from tokengate_mp.worker.nested.child_token import ChildToken
from tokengate_mp.worker.nested.nested_runs import NestedRuns
from tokengate_mp.worker.run.pauses import pauses

MAX_DEPTH: Final = 24
"""How many tokens a thread runs on top of each other; the next one gets a thread of its own.

Each takes some seven frames of Python's stack, of which there are 1,000 unless the user says else.
"""


class Waiting:
    """Waits for tokens, in whatever thread asks.

    Args:
        crew: The crew of this process.
        runs: Runs tokens that are waited for.
    """

    def __init__(self, crew: Crew, runs: NestedRuns) -> None:
        self._crew = crew
        self._here = crew.here
        self._interrupts = crew.interrupts
        self._runs = runs
        self._exclusion = crew.exclusion

    def run_at_once(self, token: ChildToken, request: Request) -> None:
        """Run a token that was made here, if possible right now in the calling thread."""
        here, interrupts = self._here, self._interrupts
        slot = here.reach
        if slot is None or here.depth >= MAX_DEPTH:
            return
        if self._crew.functions[request.function].exclusive and not (
            here.slot == MAIN and self._exclusion.in_force
        ):
            return  # it may have to wait for others to end
        number = interrupts.step_out(slot)
        here.depth += 1
        try:
            if number not in interrupts.unwanted:
                self._runs.run_member(token, request, slot, number)
        finally:
            here.depth -= 1
            if number:
                interrupts.step_in(slot, number)

    def wait_until_known(self, token: ChildToken, deadline: float | None) -> bool:
        """Wait until a token has ended, or its needs are known; False if neither in time.

        Args:
            token: The token.
            deadline: Until when to wait, monotonic seconds; None for as long as it takes.
        """
        with self._here.shield() as shield:
            return self._wait(token, deadline, shield.number)

    def _wait(self, token: ChildToken, deadline: float | None, waiting: int) -> bool:
        crew, backlog, inbox = self._crew, self._crew.backlog, self._crew.inbox
        unwanted = self._interrupts.unwanted
        begun = monotonic_ns()
        absence = Absence(self._exclusion, self._here.slot)
        claimed = False
        backlog.await_token(token, own=self._here.slot is None)
        try:
            # (`waiting` is unwanted: the parent has ended the token that waits.)
            while not (token.done() or token.hint or waiting in unwanted):
                request = backlog.take_request(token)
                if request is not None:
                    absence.end_absence()
                    pauses.add_pause(monotonic_ns() - begun)
                    self._run_on_top(token, request, waiting)
                    begun = monotonic_ns()
                    continue
                if self._here.slot == MAIN and self._run_exclusive(token, absence, waiting):
                    continue
                left = MAX_SLEEP if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return False
                absence.start_absence()
                if not claimed:
                    claimed = True
                    claim = encode((token.number, CLAIM, waiting, 0, 0))
                    crew.reporter.say(token.number, claim, urgent=True)
                if not inbox.read_for(token, min(left, MAX_SLEEP)):
                    inbox.await_reader(token, min(left, MAX_SLEEP))
        finally:
            backlog.await_no_more(token)
            if self._here.slot == MAIN:
                self._exclusion.stop_draining()
            absence.end_absence()
            pauses.add_pause(monotonic_ns() - begun)
        return True

    def _run_exclusive(self, token: ChildToken, absence: Absence, waiting: int) -> bool:
        """Run an exclusive token in the main thread, if one may begin; False if none may.

        Args:
            token: The token that the thread waits for, whether that one or another.
            absence: The wait.
            waiting: The token that the thread is running.
        """
        exclusion = self._exclusion
        within = exclusion.in_force
        request = exclusion.take_on_top(token.number)
        if request is None:
            return False
        absence.end_absence()
        begun = monotonic_ns()
        try:
            self._run_on_top(token, request, waiting)
        finally:
            if not within:
                exclusion.end_on_top()
        if request.number == token.number:
            pauses.add_pause(begun - monotonic_ns())  # that was no wait
        return True

    def _run_on_top(self, token: ChildToken, request: Request, waiting: int) -> None:
        """Run a request on top of the token `waiting`, which the calling thread is running.

        It is mostly that of the token for which the thread waits.
        """
        here = self._here
        if here.depth < MAX_DEPTH:
            here.depth += 1
            try:
                self._run_here(token, request, waiting)
            finally:
                here.depth -= 1
            return
        slot = here.slot

        def run() -> None:
            self._here.slot = slot  # it acts for this one
            self._run_here(token, request, waiting)

        thread = threading.Thread(target=run, name="tokengate-nested", daemon=True)
        thread.start()
        thread.join()

    def _run_here(self, token: ChildToken, request: Request, waiting: int) -> None:
        awaited = request.number == token.number
        if awaited:
            token.begun = True
        # (What merely stands on top of another token is not there for that one's sake.)
        self._crew.unannounced.announce_begun(request.number, waiting if awaited else 0)
        self._runs.run_apart(request, awaited=awaited)
