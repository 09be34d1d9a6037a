"""The control port: questions and orders to an engine, from any thread.

Users of a coordinator or an executor come this way, and so does what shows or steers a running
program. The engine's side implements the port once, and there alone threads are crossed. Views and
events are read in the thread that asks; everything else happens in the engine's.
"""

from __future__ import annotations

from typing import Any, Protocol

from tokengate_mp.observe.events import EventRing
from tokengate_mp.observe.view import EngineView


class StatusPort(Protocol):
    """The questions about an engine that its users have."""

    def stats(self) -> dict[str, Any]:
        """Make the numbers of `get_stats` in the engine's thread, where all counts add up."""

    def recent_executions(self, count: int) -> list[dict[str, Any]]:
        """Describe the `count` tokens that ended last, the latest first."""

    def history_lines(self) -> bytes:
        """Describe all remembered tokens as JSON lines, first ended first."""


class ControlPort(StatusPort, Protocol):
    """All questions and orders to an engine."""

    @property
    def events(self) -> EventRing:
        """The engine's latest events."""
        raise NotImplementedError

    def take_view(self) -> EngineView:
        """View the engine by atomic reads in the calling thread, also while the loop is blocked."""

    def kill_token(self, token_id: str, reason: str) -> bool:
        """End the token with an id; False if there is no such token, or if the token has ended."""

    def kill_operation(self, operation: str, reason: str) -> int:
        """End all tokens of an operation, waiting or running; returns their number."""

    def drain(self, operation: str | None, reason: str) -> int:
        """End the waiting tokens of an operation, or with None all; returns their number."""

    def pause_admission(self) -> None:
        """Send no more tokens to cores."""

    def resume_admission(self) -> None:
        """Send tokens to cores again."""

    def pause_operation(self, operation: str) -> None:
        """Send no more tokens of an operation to cores."""

    def resume_operation(self, operation: str) -> None:
        """Send tokens of an operation to cores again."""

    def reset_operation(self, operation: str) -> bool:
        """Close the breaker of an operation; False without a breaker, or if that was closed."""
