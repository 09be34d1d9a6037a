"""Executors that are kept from one use to the next.

Starting core processes takes longer than most of what is done with them. So an executor that nobody
uses any more stays for a while, and whoever asks for an equal one gets it. No two idle ones are
kept: whoever asks for another size does not go back and forth as a rule.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import Final, NamedTuple

from tokengate_mp.integrations.preparation import Limits, Preparation, prepare
from tokengate_mp.locks import new_lock

ABORT_GRACE: Final = 0.2
"""Seconds that an aborted call has to end after it was interrupted, before its process goes."""


class Kind(NamedTuple):
    """The properties by which executors are equal.

    Attributes:
        workers: Core processes.
        preparation: What each of them begins with.
    """

    workers: int
    preparation: Preparation


class Lease:
    """A use of an executor.

    Attributes:
        executor: The executor.
    """

    def __init__(self, kept: _Kept, idle_seconds: float) -> None:
        self.executor = kept.executor
        self._kept = kept
        self._idle_seconds = idle_seconds
        self._over = False

    def end_use(self, *, keep: bool = True) -> None:
        """End the use of the executor. May be called again.

        Args:
            keep: Whether the executor is fit for another use.
        """
        with _lock:
            if self._over:
                return
            self._over = True
            kept = self._kept
            kept.users -= 1
            kept.wanted = kept.wanted and keep
            kept.idle_seconds, kept.idle_since = self._idle_seconds, monotonic()
            unwanted = _take_unwanted(spare=kept)
            if any(not each.users for each in _all):
                _sweep_later(self._idle_seconds)
        _end(unwanted)


class _Kept:
    def __init__(self, kind: Kind) -> None:
        from tokengate_mp.executor.executor import TokenGateExecutor  # noqa: PLC0415 - not in a core

        limits, cpus, initializer = kind.preparation
        user = (None, ()) if initializer is None else (initializer.function, initializer.arguments)
        self.kind = kind
        self.executor = TokenGateExecutor(
            kind.workers,
            initializer=prepare,
            initargs=(Limits(dict(limits), cpus), *user),
            grace=ABORT_GRACE,
        )
        self.users = 0
        self.wanted = True
        self.idle_since = 0.0
        self.idle_seconds = 0.0


_lock = new_lock()
_all: list[_Kept] = []
_sweeper: threading.Timer | None = None


def lease(kind: Kind, idle_seconds: float) -> Lease:
    """Use an executor of a kind; a kept executor if there is any.

    Args:
        kind: The properties of the executor.
        idle_seconds: How long it is kept after its last use, seconds.
    """
    with _lock:
        for kept in _all:
            if kept.kind == kind and kept.wanted:
                break
        else:
            kept = _Kept(kind)
            _all.append(kept)
        kept.users += 1
        unwanted = _take_unwanted(spare=kept)
    _end(unwanted)
    return Lease(kept, idle_seconds)


def clear() -> None:
    """Keep no executors: idle executors end now, and the others with their last use."""
    with _lock:
        for kept in _all:
            kept.wanted = False
        unwanted = _take_unwanted()
        _stop_sweeper()
    _end(unwanted)
    for kept in unwanted:
        kept.executor.shutdown()


def _take_unwanted(spare: _Kept | None = None) -> list[_Kept]:
    """Take idle executors out of the reserve, all but `spare` if that is wanted."""
    unwanted = [kept for kept in _all if not kept.users and not (kept is spare and kept.wanted)]
    for kept in unwanted:
        _all.remove(kept)
    return unwanted


def _end(unwanted: list[_Kept]) -> None:
    for kept in unwanted:
        kept.executor.shutdown(wait=False)


def _sweep_later(seconds: float) -> None:
    global _sweeper  # noqa: PLW0603 - one for the process
    if _sweeper is None:
        _sweeper = threading.Timer(seconds, _sweep)
        _sweeper.name = "tokengate-reserve"
        _sweeper.daemon = True
        _sweeper.start()


def _stop_sweeper() -> None:
    global _sweeper
    sweeper, _sweeper = _sweeper, None
    if sweeper is not None:
        sweeper.cancel()


def _sweep() -> None:
    """End executors that were idle for their time, and look again later for the others."""
    global _sweeper  # noqa: PLW0603 - one for the process
    with _lock:
        if _sweeper is not threading.current_thread():
            return  # it was called off just now
        _sweeper = None
        now = monotonic()
        idle = [kept for kept in _all if not kept.users]
        over = [kept for kept in idle if now - kept.idle_since >= kept.idle_seconds]
        for kept in over:
            _all.remove(kept)
        left = [k.idle_since + k.idle_seconds - now for k in idle if k not in over]
        if left:
            _sweep_later(min(left))
    _end(over)


def _forget() -> None:
    """Forget all executors in a fork, as the executors are the parent's."""
    global _lock, _sweeper  # noqa: PLW0603 - another thread may have held the lock
    _lock = new_lock()
    _sweeper = None
    _all.clear()


os.register_at_fork(after_in_child=_forget)
