"""Meters: they count calls that have ended, and tell a progress.

Telling costs more than a call does. So a meter counts, and tells some ten times a second, in the
thread that takes results; where nobody asked for progress there is no meter.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

from tokengate_mp.bulk.progress import Progress
from tokengate_mp.bulk.source import length_of

TELL_SECONDS: Final = 0.1
"""A progress is not told more often than this."""


class Meter:
    """Counts calls that have ended, and tells a progress from time to time.

    All of it happens in the thread that takes results.

    Args:
        progress: The progress that is told; None for none.
        total: The number of calls; None if that is not known.
    """

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._count = 0
        self._failed = 0
        self._due = 0.0
        self._error: BaseException | None = None
        self._began = False

    def begin_progress(self) -> None:
        """Start the progress, once: results are about to be taken.

        Raises:
            Exception: What the progress raises.
        """
        if self._progress is not None and not self._began:
            self._began = True
            self._progress.start(self._total)

    def count_calls(self, count: int, failed: int = 0) -> None:
        """Count calls that have ended. Raises nothing: see `raise_failure`."""
        if self._progress is None:
            return
        self._count += count
        self._failed += failed
        if monotonic() >= self._due:
            self._tell()

    def tell_if_due(self) -> None:
        """Tell the count so far, if enough time has passed since the last time."""
        if self._count and monotonic() >= self._due:
            self._tell()

    def raise_failure(self) -> None:
        """Raise the error that the progress raised, once.

        Raises:
            Exception: That error.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error

    def finish_progress(self) -> None:
        """Finish the progress, as no more results are taken. May be called again.

        Raises:
            Exception: What the progress raises, now or since the last `raise_failure`.
        """
        progress = self._progress
        if progress is None or not self._began:
            return
        self._tell()
        self._progress = None
        progress.finish()
        self.raise_failure()

    def _tell(self) -> None:
        progress, count, failed = self._progress, self._count, self._failed
        self._count = self._failed = 0
        self._due = monotonic() + TELL_SECONDS
        if progress is None or not count or self._error is not None:
            return
        try:
            progress.advance(count, failed)
        except BaseException as error:  # noqa: BLE001 - it is raised to whoever takes results
            self._error = error
            self._progress = _Finishing(progress)


class _Finishing:
    """Stands for a progress that has failed, which is told of its end and nothing else."""

    def __init__(self, progress: Progress) -> None:
        self.finish = progress.finish

    def start(self, total: int | None) -> None:
        """Do nothing: the progress has begun."""

    def advance(self, count: int, failed: int) -> None:
        """Do nothing: the progress has failed."""


def total_of(iterables: Iterable[Iterable[Any]]) -> int | None:
    """The number of calls to come, which the shortest iterable says; None if unknown."""
    lengths = [length_of(iterable) for iterable in iterables]
    known = [length for length in lengths if length is not None]
    return min(known) if lengths and len(known) == len(lengths) else None
