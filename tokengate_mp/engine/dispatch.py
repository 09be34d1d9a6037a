"""Dispatch: the way out, from calls that were made to requests that are sent."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic_ns
from typing import Any

from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.engine.outbound.intake import Intake
from tokengate_mp.engine.outbound.pending_calls import PendingCalls
from tokengate_mp.ports import CoreBackend, CoreLink
from tokengate_mp.scheduling.scheduler import Scheduler


class Dispatch:
    """Takes in calls, and sends tokens as the scheduler orders.

    Args:
        scheduler: Gives the orders.
        backend: Has the links.
        intake: Has the calls that were made.
        pending_calls: Completes calls that are more than a record.
        nested_tokens: Sends tokens that threads of cores wait for.
        breaker_guard: Ends tokens that may not be sent.
    """

    __slots__ = (
        "_backend",
        "_breaker_guard",
        "_breakers",
        "_intake",
        "_links",
        "_nested_tokens",
        "_pending_calls",
        "_scheduler",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - all that a call passes on its way out
        self,
        scheduler: Scheduler,
        backend: CoreBackend,
        intake: Intake,
        pending_calls: PendingCalls,
        nested_tokens: NestedTokens,
        breaker_guard: BreakerGuard,
    ) -> None:
        self._scheduler = scheduler
        self._breakers = scheduler.operations.breakers
        self._backend = backend
        self._links: Mapping[int, CoreLink] = backend.links
        self._intake = intake
        self._pending_calls = pending_calls
        self._nested_tokens = nested_tokens
        self._breaker_guard = breaker_guard

    def send_orders(self) -> None:
        """Take in calls, and send tokens as ordered."""
        self.take_in()
        if self._breakers.opened or self._breaker_guard.shut:
            self._breaker_guard.end_blocked()
        pending_calls = self._pending_calls
        if pending_calls.unfinished:
            pending_calls.walk()
        claims = self._nested_tokens.claims
        if claims.pending or claims.granted:
            self._nested_tokens.grant()
        arena = self._intake.arena
        if arena is not None and arena.released:
            self._backend.return_results()
        for core, tickets in self._scheduler.assign(monotonic_ns()).items():
            link = self._links.get(core)
            if link is None:
                # Its process has ended, and this is a call of a handler that hears its last words.
                # Next the scheduler is told, and takes back what the core has not begun.
                continue
            records: list[Any]
            if pending_calls.unfinished:
                records = list(map(pending_calls.record, tickets))
            else:
                records = [ticket.record for ticket in tickets]  # type: ignore[attr-defined]  # tokens
            attached = self._nested_tokens.referring or (arena is not None and bool(arena.blocks))
            link.send(tickets, records, attached=attached)

    def take_in(self) -> None:
        """New functions, then new tokens: a token must find its function known."""
        # Taken first: those who made them have enrolled their functions before.
        tokens = self._intake.take()
        functions = self._intake.functions
        if functions.news:
            for index, definition in functions.read_news():
                for link in self._backend.all_links():
                    if definition is None:
                        link.forget(index)
                    else:
                        link.define(index, definition)
        expectations = self._intake.expectations
        while expectations:
            self._scheduler.expected(*expectations.popleft())
        if tokens:
            if self._pending_calls.arriving:
                tokens = self._pending_calls.take_out(tokens)
            self._scheduler.submitted(tokens)
