"""Breaker guard: refuses calls of an operation whose breaker is open, and ends its waiting tokens.

A call in this process is refused where it is made. One that is made inside a token is known here
only when it has been made, so its token ends; unless it is in a chain, whose tokens are on their
core already, and run. A token that waits when the breaker opens ends as well: with it the next
thousand would have to fail first, one pause after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from tokengate_mp.engine.control import TokenControl, tokens_of
from tokengate_mp.errors import OperationBlocked
from tokengate_mp.scheduling.model.breaker import Breaker, BreakerState
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.token import Token


class BreakerGuard:
    """Asks the breakers of operations that have one.

    Args:
        scheduler: Who knows the operations, and what waits.
        control: Where tokens end.
    """

    def __init__(self, scheduler: Scheduler, control: TokenControl) -> None:
        self._scheduler = scheduler
        self._control = control
        self._asking = threading.Lock()

    def pass_in(self, number: int, operation: Operation, issue: Callable[[], Any]) -> Any:
        """Make a call, if its operation takes it; from any thread.

        Args:
            number: The token's number.
            operation: Its operation.
            issue: Makes the call.

        Raises:
            OperationBlocked: The operation takes none.
            Exception: What making it raises.
        """
        breaker = operation.breaker
        if breaker is None:
            return issue()
        with self._asking:
            admitted = breaker.admits(number, monotonic_ns())
        if not admitted:
            raise _refusal(breaker)
        try:
            return issue()
        except BaseException:
            breaker.left(number)
            raise

    def made_inside(self, token: Token[Any]) -> None:
        """A call was made inside a token, and waits: it ends if its operation takes none."""
        breaker = token.operation.breaker
        if breaker is not None:
            with self._asking:
                admitted = breaker.admits(token.number, monotonic_ns())
            if not admitted:
                self._scheduler.breakers.opened.append(breaker)

    def end_blocked(self) -> None:
        """End what waits of operations whose breaker has opened."""
        for token in tokens_of(self._scheduler.blocked()):
            breaker = token.operation.breaker
            assert breaker is not None, f"{token!r} has no breaker"
            self._control.deliver_error(token, _refusal(breaker))

    def reset(self, name: str) -> bool:
        """Take calls of an operation again; False if it did."""
        breaker = self._scheduler.breakers.by_name.get(name)
        if breaker is None:
            return False
        with self._asking:  # a call in another thread may be about to be a probe
            return breaker.reset()


def _refusal(breaker: Breaker) -> OperationBlocked:
    name, settings = breaker.name, breaker.settings
    if breaker.state is BreakerState.OPEN:
        seconds = max(0, breaker.until - monotonic_ns()) / 1e9
        until = f"for another {seconds:.3g} s"
    else:
        until = f"until {settings.probes} tokens that were let through have completed"
    return OperationBlocked(
        f"{name!r} takes no calls {until}, since too many of its tokens failed (its breaker opens "
        f"at a share of {settings.failure_share:g}); call it later, or "
        f"`coordinator.reset_operation({name!r})` once the cause is gone"
    )
