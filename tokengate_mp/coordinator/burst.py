"""A burst: calls that are made one after the other, while the event loop does not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokengate_mp.coordinator.topology import current_cpu
from tokengate_mp.scheduling.weights import Cores, as_set

_NOWHERE = -1


class Burst:
    """Whether there is one, and on which CPU the thread is busy that makes the calls.

    Args:
        cpus: The CPU of each core; None for any.
        parent_beside: Told which cores are on that CPU, as a set.

    Attributes:
        goes_on: Whether a call was made since the loop last ran.
    """

    def __init__(
        self, cpus: Sequence[int | None], parent_beside: Callable[[Cores], object]
    ) -> None:
        self._cpus = cpus
        self._parent_beside = parent_beside
        self._cpu = _NOWHERE
        self.goes_on = False

    def look(self) -> None:
        """A call was made: where does this thread run now?"""
        if self.goes_on and current_cpu is not None and (cpu := current_cpu()) != self._cpu:
            self._note(cpu)

    def end(self) -> None:
        """The loop runs again, and will sleep soon."""
        self.goes_on = False
        if self._cpu != _NOWHERE:
            self._note(_NOWHERE)

    def _note(self, cpu: int) -> None:
        self._cpu = cpu
        self._parent_beside(as_set(core for core, own in enumerate(self._cpus, 1) if own == cpu))
