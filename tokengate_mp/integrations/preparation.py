"""What a core process for joblib begins with: threads of numeric libraries, and an initializer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tokengate_mp.config.cpus import affinity, usable_cpus

_THREAD_LIMITS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_SHARED_THREADS: Final = "ENABLE_IPC"
"""Has the schedulers of TBB in several processes share the CPUs."""


class Initializer:
    """An initializer of the user with its arguments.

    Two are equal if the functions and arguments are, as far as these can be compared.
    """

    __hash__ = None  # type: ignore[assignment]  # arguments need have none

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Initializer):
            return NotImplemented
        if len(self.arguments) != len(other.arguments):
            return False
        pairs = zip(
            (self.function, *self.arguments), (other.function, *other.arguments), strict=True
        )
        return all(_equal(mine, yours) for mine, yours in pairs)


class Preparation(NamedTuple):
    """What a core process begins with.

    Attributes:
        limits: Environment variables that say how many threads numeric libraries may use.
        cpus: The CPUs that it may use; None: the one that it is pinned to.
        initializer: What is called then; None for nothing.
    """

    limits: tuple[tuple[str, str], ...]
    cpus: tuple[int, ...] | None
    initializer: Initializer | None


def preparation(
    jobs: int, inner_threads: int | None, initializer: Initializer | None
) -> Preparation:
    """Find out what core processes begin with, as the environment is now.

    Args:
        jobs: How many core processes there are.
        inner_threads: Threads for numeric libraries in each; None: what the environment says, and
            else the share of the CPUs that falls to a process.
        initializer: The user's initializer, if any.
    """
    usable = usable_cpus()
    if inner_threads is None:
        share = str(max(len(usable) // jobs, 1))
        limits = {name: os.environ.get(name, share) for name in _THREAD_LIMITS}
    else:
        limits = dict.fromkeys(_THREAD_LIMITS, str(inner_threads))
    # Threads on one CPU would gain nothing, and some libraries start no more than they have CPUs.
    several = any(_count(value) > 1 for value in limits.values())
    limits[_SHARED_THREADS] = os.environ.get(_SHARED_THREADS, "1")
    return Preparation(tuple(limits.items()), tuple(affinity()) if several else None, initializer)


class Limits:
    """Environment variables that are set in the process in which the object is loaded.

    As the first of an initializer's arguments: the others may load numeric libraries, which read
    the variables once, when they are loaded.
    """

    def __init__(self, variables: Mapping[str, str], cpus: tuple[int, ...] | None) -> None:
        self._variables = variables
        self._cpus = cpus

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Any, ...]]:
        return limit_threads, (dict(self._variables), self._cpus)


def limit_threads(variables: Mapping[str, str], cpus: tuple[int, ...] | None) -> None:
    """Set how many threads numeric libraries start that are loaded from now on, and where.

    Args:
        variables: The environment variables.
        cpus: The CPUs for this thread and those that it starts; None: as they are.
    """
    os.environ.update(variables)
    if cpus is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def prepare(
    _limits: None, initializer: Callable[..., Any] | None, arguments: tuple[Any, ...]
) -> None:
    """Call the user's initializer, in a core process in which the limits have been set."""
    if initializer is not None:
        initializer(*arguments)


def _equal(mine: Any, yours: Any) -> bool:
    if mine is yours:
        return True
    try:
        return type(mine) is type(yours) and bool(mine == yours)
    except Exception:  # noqa: BLE001 - comparing runs user code: arrays say that they cannot
        return False


def _count(value: str) -> int:
    # "4", or "4,2" for levels of OpenMP.
    first = value.split(",", maxsplit=1)[0].strip()
    return int(first) if first.isdecimal() else 1
