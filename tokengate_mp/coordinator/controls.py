"""The controls of a running coordinator: looking at its tokens, holding them back, ending them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tokengate_mp.config.checks import whole
from tokengate_mp.engine.control import TokenControl
from tokengate_mp.engine.engine import Engine
from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.loops.host import Host

R = TypeVar("R")


class Controls:
    """What can be asked of a coordinator, and told to it, from any thread."""

    _host: Host | None = None
    _engine: Engine | None = None

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
        host, engine = self._host, self._engine
        if host is None or engine is None:
            raise CoordinatorNotRunning("get_stats() needs a coordinator that was started")
        return host.call(engine.stats)

    def kill_token(self, token_id: str, reason: str = "killed by id") -> bool:
        """End the token with this id; who awaits it gets `TokenKilled`.

        Returns:
            False if no token has this id, or it has ended already.

        Raises:
            TypeError: It is no str.
            CoordinatorNotRunning: This coordinator is not running.
        """
        if not isinstance(token_id, str):
            raise TypeError(f"token_id must be a str, not {type(token_id).__name__}")
        return self._control(lambda control: control.kill_by_id(token_id, reason))

    def kill_all_by_operation(
        self, operation_type: str, reason: str = "its operation was killed"
    ) -> int:
        """End all tokens of an operation, waiting or running.

        Returns:
            How many there were.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        return self._control(lambda control: control.kill_all(operation_type, reason))

    def pause_admission(self) -> None:
        """Send no more tokens to cores until `resume_admission`; calls go on being taken.

        What cores hold already, a few milliseconds of work for each, is run to its end.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control(lambda control: control.pause_admission(paused=True))

    def resume_admission(self) -> None:
        """Send tokens to cores again.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control(lambda control: control.pause_admission(paused=False))

    def drain_pool(self) -> int:
        """End all waiting tokens as killed; how many there were.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        return self._control(lambda control: control.drain(None, "the pool was drained"))

    def pause_operation(self, operation_type: str) -> None:
        """As `pause_admission`, for the tokens of one operation; it need not have been called yet.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control(lambda control: control.pause_operation(operation_type, paused=True))

    def resume_operation(self, operation_type: str) -> None:
        """Send the tokens of that operation to cores again.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        self._control(lambda control: control.pause_operation(operation_type, paused=False))

    def reset_operation(self, operation_type: str) -> bool:
        """Let the breaker of an operation take calls again, as if nothing had failed.

        Returns:
            False if it took them, or the operation has none.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        host, engine = self._running()
        return host.call(lambda: engine.breaker_guard.reset(operation_type))

    def drain_operation(self, operation_type: str) -> int:
        """End all waiting tokens of an operation as killed; how many there were.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        return self._control(
            lambda control: control.drain(operation_type, "its operation was drained")
        )

    def get_recent_executions(self, n: int = 50) -> list[dict[str, Any]]:
        """What became of the tokens that ended last, the latest first.

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
        return self._look(lambda engine: engine.history.recent(n))

    def dump_execution_history(self, path: str | os.PathLike[str]) -> int:
        """Write what became of the last 1,024 tokens to a file, a line of JSON for each.

        Args:
            path: The file; one that is there is replaced.

        Returns:
            How many lines it has, first ended first.

        Raises:
            OSError: It cannot be written.
            CoordinatorNotRunning: It was never started.
        """
        lines = self._look(lambda engine: engine.history.lines())
        Path(path).write_bytes(lines)
        return lines.count(b"\n")

    def _look(self, look: Callable[[Engine], R]) -> R:
        host, engine = self._host, self._engine
        if host is None or engine is None:
            raise CoordinatorNotRunning("this coordinator was never started")
        return host.call(lambda: look(engine))

    def _control(self, act: Callable[[TokenControl], R]) -> R:
        host, engine = self._running()
        return host.call(lambda: act(engine.control))

    def _running(self) -> tuple[Host, Engine]:
        host, engine = self._host, self._engine
        if host is None or engine is None or not engine.takes_calls():
            raise CoordinatorNotRunning(
                "this coordinator is not running, so there is nothing to control; start it first"
            )
        return host, engine
