"""The receiver: takes up what the core processes have written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from time import monotonic_ns

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.supervisor import Supervisor
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.intake import Intake
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.settlement import settle
from tokengate_mp.errors import CoordinatorNotRunning, WireError
from tokengate_mp.observe.history import History
from tokengate_mp.scheduling.scheduler import Scheduler

_log = logging.getLogger(__name__)


class Receiver:
    """Looks at one core process at a time.

    Args:
        scheduler: Told of outcomes, and of processes that are hungry.
        supervisor: Ends a process that writes what makes no sense.
        intake: Closed at the end.
        history: Remembers outcomes.
        admission: Has room again for each token that ends.
        nested_tokens: Told of what cores say of tokens made inside tokens.
        needed: Numbers of tokens that others need.
        took_over: Called when a process that has a seat is found to be up.

    Attributes:
        looking: Whether it is looking: loading a result runs user code.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that an outcome passes on its way in
        self,
        scheduler: Scheduler,
        supervisor: Supervisor,
        intake: Intake,
        history: History,
        admission: Admission,
        nested_tokens: NestedTokens,
        needed: Collection[int],
        took_over: Callable[[Incarnation], object],
    ) -> None:
        self._scheduler = scheduler
        self._supervisor = supervisor
        self._intake = intake
        self._history = history
        self._admission = admission
        self._nested_tokens = nested_tokens
        self._needed = needed
        self._took_over = took_over
        self.looking = False

    def look_at(self, incarnation: Incarnation, deadline: int | None) -> None:
        """Take up what a process has to say.

        Args:
            incarnation: The process.
            deadline: Until when outcomes are taken up, monotonic ns; None: until there are none.

        Raises:
            CoordinatorNotRunning: The coordinator was stopped meanwhile.
        """
        self.looking = True
        try:
            self._take_up(incarnation, deadline)
        finally:
            self.looking = False

    def _take_up(self, incarnation: Incarnation, deadline: int | None) -> None:
        if not incarnation.ready and incarnation.is_ready():
            incarnation.ready = True
            if incarnation.seat:
                self._took_over(incarnation)
        try:
            incarnation.collect()
            if self._intake.closed:
                raise CoordinatorNotRunning("a handler of a log record has stopped the coordinator")
            while incarnation.arrived:
                settle(
                    self._scheduler,
                    incarnation,
                    self._history,
                    self._admission,
                    nested_tokens=self._nested_tokens,
                    needed=self._needed,
                    deadline=deadline,
                )
                if deadline is not None and monotonic_ns() > deadline:
                    break
        except WireError:
            # Nothing from there can be trusted now. What it holds ends, or moves, with its process.
            _log.exception("core %d: its process is ended", incarnation.core)
            incarnation.arrived.clear()
            incarnation.condemned = "what it wrote made no sense"
            self._supervisor.condemn(incarnation)
        if incarnation.congested:
            incarnation.flush()
        if incarnation.is_hungry():
            self._scheduler.hungry(incarnation.seat, incarnation.running())
