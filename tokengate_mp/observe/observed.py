"""Statistics and history, as a coordinator and an executor give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tokengate_mp.config.checks import whole
from tokengate_mp.observe.control_port import StatusPort


class Observed:
    """Statistics and history of an engine, for its users; callable from any thread.

    Args:
        label: A name for people.

    Attributes:
        label: That name.
    """

    def __init__(self, label: str) -> None:
        self.label: str = label

    def _status_port(self, never_started: str) -> StatusPort:
        """Find the port of the engine.

        Args:
            never_started: The text of the error, where an engine that was never started is one.

        Raises:
            CoordinatorNotRunning: The engine was never started.
        """
        raise NotImplementedError

    def get_stats(self) -> dict[str, Any]:
        """Counts of tokens, operations and cores, as plain data.

        Returns:
            `cores`: for each, core 1 first, `core`, `pid`, `cpu`, `alive`, `queued`, `executing`,
            `completed`, `restarts` (after a process had ended by itself), `recycled` (times that
            one was replaced while it was well), and `dropped`: how many of its log records and
            pieces of output were, for want of room. `tokens`: how many are in each state.
            `operations`: for each operation_type its `weight`, the user's own `tags`, `counts`,
            `durations` (`p50`, `p95`, `max`; ns), whether it is `paused`, its `max_running`, and
            if it has that, how many tokens are `held` by cores, and its `breaker`: None, or its
            `state`, how many tokens `ended` and `failed` within its window, and the `seconds` until
            it lets calls through. `admission`: whether all of it is `paused`. `conductor` and
            `sticky`: live counts.

        Raises:
            CoordinatorNotRunning: It was never started.
        """
        return self._status_port("get_stats() needs a coordinator that was started").stats()

    def get_recent_executions(self, n: int = 50) -> list[dict[str, Any]]:
        """Describe the tokens that ended last, the latest first.

        Args:
            n: How many; the last 1,024 are remembered.

        Returns:
            For each its `token_id`, `operation_type`, `weight`, `state`, `core`, the times of
            `Token.timing` and, if it did not complete, its `error` in a line.

        Raises:
            TypeError: `n` is no int.
            ValueError: `n` is negative.
            CoordinatorNotRunning: It was never started.
        """
        whole("n", n, 0, 1 << 62)
        return self._status_port("this coordinator was never started").recent_executions(n)

    def dump_execution_history(self, path: str | os.PathLike[str]) -> int:
        """Write the history of the last 1,024 tokens to a file, a line of JSON for each.

        Args:
            path: The file; one that is there is replaced.

        Returns:
            How many lines it has, first ended first.

        Raises:
            OSError: It cannot be written.
            CoordinatorNotRunning: It was never started.
        """
        lines = self._status_port("this coordinator was never started").history_lines()
        Path(path).write_bytes(lines)
        return lines.count(b"\n")
