"""The run of a coordinator, from start to stop: its loop, its engine, and its claim on the process.

Of any number of coordinators in a process one runs. It may be started and stopped in any thread, in
a signal handler, at exit and more than once at a time, and Ctrl-C may come at any moment: who is
first starts or stops, under `this_process.claiming`, and the lock is not held while one thread
waits for another.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

from tokengate_mp import this_process
from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.coordinator.opening import open_engine
from tokengate_mp.cores.initializer_file import InitializerFile
from tokengate_mp.engine.engine import Engine
from tokengate_mp.errors import CoordinatorNotRunning, CoordinatorRunning, TokenKilled
from tokengate_mp.loops.host import Host
from tokengate_mp.observe.control_port import ControlPort
from tokengate_mp.sigint import HeldBack
from tokengate_mp.tokens.token import Token


class CoordinatorRun:
    """A run that may begin once.

    Args:
        settings: The coordinator's settings.
        initializer: What each core process runs first (see `wire.protocol.initializer`); empty for
            nothing.

    Attributes:
        host: The loop of the run, and its thread; None before the start, and in a fork.
        engine: Takes calls in; None before the start, and in a fork.
    """

    def __init__(self, settings: CoordinatorSettings, initializer: bytes) -> None:
        self.host: Host | None = None
        self.engine: Engine | None = None
        self._settings = settings
        self._initializer = initializer
        self._initializer_file: InitializerFile | None = None
        self._ended = threading.Event()
        self._ender = 0
        self._stop: Callable[[], object] = self.end_run

    # ---- asked in any thread

    def is_current(self) -> bool:
        """Whether this run was begun, and its end was not."""
        return this_process.coordinator is self

    @property
    def stage(self) -> str:
        """How far the run is, in words."""
        if self.host is None:
            return "not started"
        return "running" if self.is_current() else "stopped"

    def require_running(self, otherwise: str) -> tuple[Host, Engine]:
        """The host and the engine, while calls are taken.

        Args:
            otherwise: What the error says.

        Raises:
            CoordinatorNotRunning: No calls are taken.
        """
        host, engine = self.host, self.engine
        if host is None or engine is None or not engine.takes_calls():
            raise CoordinatorNotRunning(otherwise)
        return host, engine

    def control_port(self, otherwise: str) -> ControlPort:
        """The control port, from the start on, also when the run has ended.

        Args:
            otherwise: What the error says.

        Raises:
            CoordinatorNotRunning: The run was not begun.
        """
        if self.host is None or self.engine is None:
            raise CoordinatorNotRunning(otherwise)
        return self.engine.control_port

    # ---- beginning

    def begin_run(self, stop: Callable[[], object]) -> None:
        """Start the core processes and take calls.

        Args:
            stop: Ends the run for its user, at exit for example.

        Raises:
            CoordinatorRunning: A coordinator is running in this process.
            CoordinatorNotRunning: This run has ended.
            CoreStartError: The first core process cannot be started.
        """
        if this_process.core is not None:
            raise CoordinatorRunning(
                "this is a core process, and may not start a coordinator (and so core processes, "
                "which would start coordinators …). If a module does so when it is imported, put "
                'that part of it under `if __name__ == "__main__":`.'
            )
        with this_process.claiming:
            before: CoordinatorRun | None = this_process.coordinator
            if before is not None and before._is_stranded():  # noqa: SLF001 - of this class
                before._stop()  # noqa: SLF001 - of this class
            if this_process.coordinator is not None:
                raise CoordinatorRunning(
                    "a coordinator is running in this process already; stop it first, or share "
                    "it: decorated functions find it by themselves"
                )
            if self.host is not None:
                raise CoordinatorNotRunning(
                    "this coordinator was stopped; make a new OperationsCoordinator"
                )
            this_process.claim(self, self._abandon)
        # The lock is not held while one thread waits for another.
        try:
            opened = open_engine(self._settings, self._initializer, Host.find, public=True)
        except BaseException:
            with this_process.claiming:
                this_process.release()
            raise
        self._stop = stop
        self.engine, self.host, self._initializer_file = opened

    # ---- ending

    def end_run(self) -> None:
        """End everything now; from any thread, and again."""
        with HeldBack():
            self._end_now()

    def _end_now(self) -> None:
        with this_process.claiming:
            host, engine = self.host, self.engine
            if host is None or engine is None:
                return
            first = this_process.coordinator is self
            if first:
                this_process.release()
                self._ender = threading.get_ident()
        if first:
            try:
                host.call(lambda: engine.close(_stopped))
            finally:
                if self._initializer_file is not None:
                    self._initializer_file.close()
                host.end_loop()
                self._stop = self.end_run
                self._ended.set()
        elif host.is_here:
            engine.close(_stopped)  # if another thread's call has not come to it yet
        elif self._ender != threading.get_ident():  # it is, in a signal handler within stop()
            self._ended.wait()

    def _is_stranded(self) -> bool:
        """Whether the loop that the run began in is closed, and the run has not ended."""
        return self.host is not None and not self.host.own and self.host.loop.is_closed()

    def _abandon(self) -> None:
        """Let go of everything in a fork: core processes and tokens are the parent's."""
        engine, self.engine, self.host = self.engine, None, None
        self._stop = self.end_run
        if self._initializer_file is not None:
            self._initializer_file.close()
        if engine is not None:
            engine.abandon()


def _stopped(token: Token[object]) -> TokenKilled:
    return TokenKilled(token.token_id, "the coordinator was stopped")


def _stop_at_exit() -> None:
    run: CoordinatorRun | None = this_process.coordinator
    if run is not None:
        run._stop()  # noqa: SLF001 - of this module


atexit.register(_stop_at_exit)
