"""The engine's side of the control port: the one place where observers' and users' threads cross.

Each order is carried out in the engine's thread, and leaves an event of what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from tokengate_mp.engine.control import TokenControl
from tokengate_mp.engine.observation import Observation
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.loops.host import Host
from tokengate_mp.observe.events import DRAINED, KILLED, PAUSED, RESET, RESUMED, EventRing
from tokengate_mp.observe.history import History
from tokengate_mp.observe.stats import stats
from tokengate_mp.observe.view import EngineView


class EngineControlPort:
    """The control port of an engine (see `observe.control_port.ControlPort`).

    Args:
        host: The engine's loop and thread.
        control: Ends tokens and holds them back.
        breaker_guard: Resets breakers.
        history: Remembers ended tokens.
        events: The engine's events.
        observation: Takes views.
        start_cores: Starts the processes that the loop would start any moment; in its thread.
    """

    __slots__ = (
        "_breaker_guard",
        "_control",
        "_history",
        "_host",
        "_observation",
        "_start_cores",
        "events",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - all that can be steered or looked at
        self,
        host: Host,
        control: TokenControl,
        breaker_guard: BreakerGuard,
        history: History,
        events: EventRing,
        observation: Observation,
        start_cores: Callable[[], object],
    ) -> None:
        self.events = events
        self._host = host
        self._control = control
        self._breaker_guard = breaker_guard
        self._history = history
        self._observation = observation
        self._start_cores = start_cores

    # ---- looking

    def take_view(self) -> EngineView:
        """View the engine by atomic reads in the calling thread, also while the loop is blocked."""
        return self._observation.view_now()

    def stats(self) -> dict[str, Any]:
        """Make the numbers of `get_stats` in the engine's thread, where all counts add up."""

        def look() -> dict[str, Any]:
            self._start_cores()
            return stats(self._observation.exact_view())

        return self._host.call(look)

    def recent_executions(self, count: int) -> list[dict[str, Any]]:
        """Describe the `count` tokens that ended last, the latest first."""
        return self._host.call(lambda: self._history.recent(count))

    def history_lines(self) -> bytes:
        """Describe all remembered tokens as JSON lines, first ended first."""
        return self._host.call(self._history.lines)

    # ---- ending tokens

    def kill_token(self, token_id: str, reason: str) -> bool:
        """End the token with an id; False if there is no such token, or if the token has ended."""

        def act() -> bool:
            killed = self._control.kill_by_id(token_id, reason)
            self._record(KILLED, None, token_id, int(killed), reason)
            return killed

        return self._host.call(act)

    def kill_operation(self, operation: str, reason: str) -> int:
        """End all tokens of an operation, waiting or running; returns their number."""

        def act() -> int:
            count = self._control.kill_all(operation, reason)
            self._record(KILLED, operation, None, count, reason)
            return count

        return self._host.call(act)

    def drain(self, operation: str | None, reason: str) -> int:
        """End the waiting tokens of an operation, or with None all; returns their number."""

        def act() -> int:
            count = self._control.drain(operation, reason)
            self._record(DRAINED, operation, count, reason)
            return count

        return self._host.call(act)

    # ---- holding tokens back

    def pause_admission(self) -> None:
        """Send no more tokens to cores."""
        self._host.call(lambda: self._hold_back(None, paused=True))

    def resume_admission(self) -> None:
        """Send tokens to cores again."""
        self._host.call(lambda: self._hold_back(None, paused=False))

    def pause_operation(self, operation: str) -> None:
        """Send no more tokens of an operation to cores."""
        self._host.call(lambda: self._hold_back(operation, paused=True))

    def resume_operation(self, operation: str) -> None:
        """Send tokens of an operation to cores again."""
        self._host.call(lambda: self._hold_back(operation, paused=False))

    def _hold_back(self, operation: str | None, *, paused: bool) -> None:
        if operation is None:
            self._control.pause_admission(paused=paused)
        else:
            self._control.pause_operation(operation, paused=paused)
        self._record(PAUSED if paused else RESUMED, operation)

    def reset_operation(self, operation: str) -> bool:
        """Close the breaker of an operation; False without a breaker, or if that was closed."""

        def act() -> bool:
            was_shut = self._breaker_guard.reset(operation)
            self._record(RESET, operation, was_shut)
            return was_shut

        return self._host.call(act)

    def _record(self, kind: str, *facts: object) -> None:
        self.events.record((kind, monotonic_ns(), *facts))
