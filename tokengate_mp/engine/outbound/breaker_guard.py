"""Breaker guard: refuses calls of an operation whose breaker is open, and ends its waiting tokens.

A call in this process is refused where it is made. A call that is made inside a token is known here
only when it has been made, so its token ends; unless it is in a chain, whose tokens are on their
core already, and run. A token that waits when the breaker opens ends as well: with it the next
thousand would have to fail first, one pause after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from tokengate_mp.engine.control import TokenControl, tokens_of
from tokengate_mp.errors import OperationBlocked
from tokengate_mp.observe.events import BREAKER_CLOSED, BREAKER_OPENED, EventRing
from tokengate_mp.scheduling.model.breaker import BreakerState
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.token import Token


class BreakerGuard:
    """Asks the breakers of operations for calls and waiting tokens.

    Args:
        scheduler: Knows the breakers, and the waiting tokens.
        control: Where tokens end.
        events: Takes events; None: a ring that nobody reads.

    Attributes:
        shut: Operations whose breakers are known to have opened, and not to have closed since.
    """

    def __init__(
        self, scheduler: Scheduler, control: TokenControl, events: EventRing | None = None
    ) -> None:
        self._scheduler = scheduler
        self._breakers = scheduler.operations.breakers
        self._control = control
        self._events = EventRing() if events is None else events
        self.shut: set[str] = set()

    def pass_in(self, number: int, operation: Operation, issue: Callable[[], Any]) -> Any:
        """Make a call, if its operation takes calls; from any thread.

        Args:
            number: The token's number.
            operation: Its operation.
            issue: Makes the call.

        Raises:
            OperationBlocked: The operation takes none.
            Exception: What making it raises.
        """
        if not self._breakers.admit_call(number, operation, monotonic_ns()):
            raise _refusal(operation)
        try:
            return issue()
        except BaseException:
            self._breakers.withdraw_call(number, operation)
            raise

    def made_inside(self, token: Token[Any]) -> None:
        """End a token that was made inside another, and waits, if its operation takes no calls."""
        if not self._breakers.admit_call(token.number, token.operation, monotonic_ns()):
            self._scheduler.call_refused(token)

    def end_blocked(self) -> None:
        """End the waiting tokens of operations whose breaker has opened."""
        self._note_breakers()
        for token in tokens_of(self._scheduler.take_blocked()):
            self._control.deliver_error(token, _refusal(token.operation))

    def _note_breakers(self) -> None:
        """Record the breakers that have opened or closed since the last turn."""
        for breaker in self._breakers.opened:
            if breaker.name not in self.shut and self._breakers.is_shut(breaker.name):
                self.shut.add(breaker.name)
                self._events.record((BREAKER_OPENED, monotonic_ns(), breaker.name))
        for name in [name for name in self.shut if not self._breakers.is_shut(name)]:
            self.shut.discard(name)
            self._events.record((BREAKER_CLOSED, monotonic_ns(), name))

    def reset(self, name: str) -> bool:
        """Take calls of an operation again; False if the operation did take calls."""
        return self._breakers.close_breaker(name)


def _refusal(operation: Operation) -> OperationBlocked:
    name, breaker = operation.name, operation.breaker
    assert breaker is not None, f"{name!r} has no breaker"
    view, settings = breaker.view(monotonic_ns()), breaker.settings
    if view.state is BreakerState.OPEN:
        until = f"for another {view.left / 1e9:.3g} s"
    else:
        until = f"until {settings.probes} tokens that were let through have completed"
    return OperationBlocked(
        f"{name!r} takes no calls {until}, since too many of its tokens failed (its breaker opens "
        f"at a share of {settings.failure_share:g}); call it later, or "
        f"`coordinator.reset_operation({name!r})` once the cause is gone"
    )
