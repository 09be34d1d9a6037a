"""A burst: calls that are made one after the other, while the event loop does not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokengate_mp.config.cpus import current_cpu
from tokengate_mp.scheduling.model.weights import Cores, as_set

_NOWHERE = -1


class Burst:
    """The current burst: how long the calls last, and which CPU its thread keeps busy.

    Args:
        cpus: The CPU of each core; None for any.
        parent_busy: Told which cores are on that CPU, as a set, and for how long the burst has
            lasted, ns; an empty set and 0 once it is over.

    Attributes:
        goes_on: Whether a call was made since the loop last ran.
    """

    def __init__(
        self, cpus: Sequence[int | None], parent_busy: Callable[[Cores, int], object]
    ) -> None:
        self._cpus = cpus
        self._parent_busy = parent_busy
        self._cpu = _NOWHERE
        self._beside: Cores = 0
        self._began = 0
        self._told = False
        self.goes_on = False

    def look(self, now: int) -> None:
        """Find out, at a call, on which CPU the calling thread runs."""
        if not self.goes_on:
            self._began = now
            return
        if current_cpu is not None and (cpu := current_cpu()) != self._cpu:
            self._cpu = cpu
            self._beside = as_set(core for core, own in enumerate(self._cpus, 1) if own == cpu)
        self._told = True
        self._parent_busy(self._beside, now - self._began)

    def end(self) -> None:
        """The loop runs again, and will sleep soon."""
        self.goes_on = False
        if self._told:
            self._told = False
            self._parent_busy(0, 0)
