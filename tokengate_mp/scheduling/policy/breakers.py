"""The circuit breakers of all operations that have one.

Calls ask in any thread whether they are taken, and resets come from users; ends are counted in the
engine's thread. Each of these takes the *guard*, so that a breaker changes in one thread at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any

from tokengate_mp.config.circuit_breaker import CircuitBreaker
from tokengate_mp.scheduling.model.breaker import Breaker, BreakerState
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.model.ticket import Ticket


class Breakers:
    """All breakers, by operation.

    Args:
        guard: Entered around each change; the same thread may enter it again.

    Attributes:
        by_name: The breakers, by the operations' names.
        opened: Breakers that have opened since the last `take_blocked`.
    """

    __slots__ = ("_guard", "by_name", "opened")

    def __init__(self, guard: AbstractContextManager[Any]) -> None:
        self._guard = guard
        self.by_name: dict[str, Breaker] = {}
        self.opened: list[Breaker] = []

    # ---- in any thread

    def breaker_of(self, name: str, settings: CircuitBreaker) -> Breaker:
        """The breaker of an operation, made with its first call."""
        return self.by_name.setdefault(name, Breaker(name, settings))

    def admit_call(self, number: int, operation: Operation, now: int) -> bool:
        """Whether an operation takes a call now; thread-safe.

        Args:
            number: The number that the token will have.
            operation: The operation.
            now: The time, ns.
        """
        breaker = operation.breaker
        if breaker is None:
            return True
        with self._guard:
            return breaker.admits(number, now)

    def withdraw_call(self, number: int, operation: Operation) -> None:
        """Free the place of a call that was admitted, and could not be made; thread-safe."""
        if operation.breaker is not None:
            with self._guard:
                operation.breaker.token_withdrawn(number)

    def close_breaker(self, name: str) -> bool:
        """Let an operation take calls again; False if no breaker was open. Thread-safe."""
        breaker = self.by_name.get(name)
        if breaker is None:
            return False
        with self._guard:
            return breaker.close_again()

    def is_shut(self, name: str) -> bool:
        """Whether the breaker of an operation is not closed; thread-safe."""
        return self.by_name[name].state is not BreakerState.CLOSED

    # ---- in the engine's thread

    def count_completed(self, tickets: Iterable[Ticket], now: int) -> None:
        """Count tokens whose functions have returned."""
        with self._guard:
            for ticket in tickets:
                breaker = ticket.operation.breaker
                if breaker is not None:
                    breaker.token_completed(ticket.number, now)

    def count_failed(self, tickets: Iterable[Ticket], now: int | None) -> None:
        """Count tokens that have failed at `now`; None: without having been run."""
        with self._guard:
            for ticket in tickets:
                breaker = ticket.operation.breaker
                if breaker is None:
                    continue
                if now is None:
                    breaker.token_withdrawn(ticket.number)
                elif breaker.token_failed(ticket.number, now):
                    self.opened.append(breaker)

    def refuse_waiting(self, breaker: Breaker) -> None:
        """Let the waiting tokens of a breaker be ended with the next `take_blocked`."""
        self.opened.append(breaker)

    def take_blocked(self, waiting: Iterable[Ticket]) -> Collection[Ticket]:
        """The waiting tokens whose breaker has opened since the last time, probes excepted."""
        opened, self.opened = set(self.opened), []
        shut = {breaker for breaker in opened if breaker.state is not BreakerState.CLOSED}
        blocked: list[Ticket] = []
        for ticket in waiting if shut else ():
            breaker = ticket.operation.breaker
            if breaker in shut and ticket.number not in breaker.probes:
                blocked.append(ticket)
        return blocked

    def validate(self) -> None:
        """Check the invariants of every breaker.

        Raises:
            AssertionError: One is broken.
        """
        for breaker in tuple(self.by_name.values()):
            breaker.validate()
