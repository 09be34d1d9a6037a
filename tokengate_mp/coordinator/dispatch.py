"""The way out: from calls that were made to requests that are sent."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

from tokengate_mp.coordinator.chains import Chains
from tokengate_mp.coordinator.doorkeeper import Doorkeeper
from tokengate_mp.coordinator.drafts import Drafts
from tokengate_mp.coordinator.intake import Intake
from tokengate_mp.coordinator.lent import give_back
from tokengate_mp.coordinator.supervisor import Supervisor
from tokengate_mp.scheduling.scheduler import Scheduler


class Dispatch:
    """Takes in calls, and sends what the scheduler orders.

    Args:
        scheduler: Who orders.
        supervisor: Who knows the processes.
        intake: Where calls come in.
        drafts: Where those are finished that are more than a record.
        chains: What is sent for the sake of threads that wait for it.
        doorkeeper: Who ends what may not be sent.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a call passes on its way out
        self,
        scheduler: Scheduler,
        supervisor: Supervisor,
        intake: Intake,
        drafts: Drafts,
        chains: Chains,
        doorkeeper: Doorkeeper,
    ) -> None:
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._living = supervisor.living
        self._intake = intake
        self._drafts = drafts
        self._chains = chains
        self._doorkeeper = doorkeeper

    def send(self) -> None:
        """Take in calls and send what is ordered."""
        self.take_in()
        if self._scheduler.breakers.opened:
            self._doorkeeper.end_blocked()
        drafts = self._drafts
        if drafts.unfinished:
            drafts.walk()
        if self._chains.claims or self._chains.granted:
            self._chains.grant()
        arena = self._intake.arena
        if arena is not None and arena.returned:
            give_back(arena, self._living)
        for core, tickets in self._scheduler.assign(monotonic_ns()).items():
            incarnation = self._living.get(core)
            if incarnation is None:
                # Its process has ended, and this is a call of a handler that hears its last words.
                # Next the scheduler is told, and takes back what the core has not begun.
                continue
            records: list[Any]
            if drafts.unfinished:
                records = list(map(drafts.record, tickets))
            else:
                records = [ticket.record for ticket in tickets]  # type: ignore[attr-defined]  # tokens
            numbers = [ticket.number for ticket in tickets]
            if self._chains.referring or (arena is not None and arena.blocks):
                records = incarnation.lent.unload(numbers, records)
            incarnation.send(numbers, records)

    def take_in(self) -> None:
        """New functions, then new tokens: a token must find its function known."""
        # Taken first: those who made them have enrolled their functions before.
        tokens = self._intake.take()
        functions = self._intake.functions
        if functions.news:
            for index, definition in functions.read_news():
                for incarnation in self._supervisor.processes():
                    if definition is None:
                        incarnation.forget(index)
                    else:
                        incarnation.define(index, definition)
        if tokens:
            if self._drafts.arriving:
                tokens = self._drafts.take_out(tokens)
            self._scheduler.submitted(tokens)
