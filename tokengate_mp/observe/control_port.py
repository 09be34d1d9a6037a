"""The control port: what can be asked of an engine and told to it, from any thread.

Users of a coordinator or an executor come this way, and so does what shows or steers a running
program. The engine's side implements the port once, and there alone threads are crossed. Views and
events are read in the thread that asks; everything else happens in the engine's.
"""

from __future__ import annotations

from typing import Any, Protocol

from tokengate_mp.observe.events import EventRing
from tokengate_mp.observe.view import EngineView


class StatusPort(Protocol):
    """What can be asked."""

    def stats(self) -> dict[str, Any]:
        """The numbers of `get_stats`: they add up."""

    def recent_executions(self, count: int) -> list[dict[str, Any]]:
        """The tokens that ended last, the latest first."""

    def history_lines(self) -> bytes:
        """All remembered executions as JSON lines, first ended first."""


class ControlPort(StatusPort, Protocol):
    """What can be asked, watched and told."""

    @property
    def events(self) -> EventRing:
        """The engine's latest events."""
        raise NotImplementedError

    def take_view(self) -> EngineView:
        """The engine at this moment, by atomic reads: also while its loop is blocked."""

    def kill_token(self, token_id: str, reason: str) -> bool:
        """End the token with this id; False if there is none that has not ended."""

    def kill_operation(self, operation: str, reason: str) -> int:
        """End all tokens of an operation, waiting or running: how many there were."""

    def drain(self, operation: str | None, reason: str) -> int:
        """End the waiting tokens, all or those of one operation: how many there were."""

    def pause_admission(self) -> None:
        """Send no more tokens to cores."""

    def resume_admission(self) -> None:
        """Send tokens to cores again."""

    def pause_operation(self, operation: str) -> None:
        """Send no more tokens of an operation to cores."""

    def resume_operation(self, operation: str) -> None:
        """Send tokens of an operation to cores again."""

    def reset_operation(self, operation: str) -> bool:
        """Close the breaker of an operation; False if it was closed, or there is none."""
