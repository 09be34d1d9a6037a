"""The way out: from calls that were made to requests that are sent."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

from tokengate_mp.cores.leases import give_back
from tokengate_mp.cores.supervisor import Supervisor
from tokengate_mp.engine.breaker_guard import BreakerGuard
from tokengate_mp.engine.intake import Intake
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.pending_calls import PendingCalls
from tokengate_mp.scheduling.scheduler import Scheduler


class Dispatch:
    """Takes in calls, and sends what the scheduler orders.

    Args:
        scheduler: Who orders.
        supervisor: Who knows the processes.
        intake: Where calls come in.
        pending_calls: Where those are finished that are more than a record.
        nested_tokens: What is sent for the sake of threads that wait for it.
        breaker_guard: Who ends what may not be sent.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a call passes on its way out
        self,
        scheduler: Scheduler,
        supervisor: Supervisor,
        intake: Intake,
        pending_calls: PendingCalls,
        nested_tokens: NestedTokens,
        breaker_guard: BreakerGuard,
    ) -> None:
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._living = supervisor.living
        self._intake = intake
        self._pending_calls = pending_calls
        self._nested_tokens = nested_tokens
        self._breaker_guard = breaker_guard

    def send(self) -> None:
        """Take in calls and send what is ordered."""
        self.take_in()
        self._breaker_guard.end_blocked()
        pending_calls = self._pending_calls
        if pending_calls.unfinished:
            pending_calls.walk()
        if self._nested_tokens.claims or self._nested_tokens.granted:
            self._nested_tokens.grant()
        arena = self._intake.arena
        if arena is not None and arena.released:
            give_back(arena, self._living)
        for core, tickets in self._scheduler.assign(monotonic_ns()).items():
            incarnation = self._living.get(core)
            if incarnation is None:
                # Its process has ended, and this is a call of a handler that hears its last words.
                # Next the scheduler is told, and takes back what the core has not begun.
                continue
            records: list[Any]
            if pending_calls.unfinished:
                records = list(map(pending_calls.record, tickets))
            else:
                records = [ticket.record for ticket in tickets]  # type: ignore[attr-defined]  # tokens
            numbers = [ticket.number for ticket in tickets]
            if self._nested_tokens.referring or (arena is not None and arena.blocks):
                records = incarnation.leases.unload(numbers, records)
            incarnation.send(numbers, records)

    def take_in(self) -> None:
        """New functions, then new tokens: a token must find its function known."""
        # Taken first: those who made them have enrolled their functions before.
        tokens = self._intake.take()
        expectations = self._intake.expectations
        functions = self._intake.functions
        if functions.news:
            for index, definition in functions.read_news():
                for incarnation in self._supervisor.processes():
                    if definition is None:
                        incarnation.forget(index)
                    else:
                        incarnation.define(index, definition)
        while expectations:
            self._scheduler.expected(*expectations.popleft())
        if tokens:
            if self._pending_calls.arriving:
                tokens = self._pending_calls.take_out(tokens)
            self._scheduler.submitted(tokens)
