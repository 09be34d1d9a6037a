"""Progress: who is told how far many calls have got, and how often.

Telling costs more than a call does. So a *meter* counts, and tells some ten times a second, in the
thread that takes results; where nobody asked for progress there is no meter.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Any, Final, Protocol, runtime_checkable

from tokengate_mp.bulk.source import length_of

TELL_SECONDS: Final = 0.1
"""A progress is not told more often than this."""


@runtime_checkable
class Progress(Protocol):
    """Who is told how far many calls have got, in the thread that takes their results.

    What one of these raises is raised to whoever takes results, after those that are there; it is
    told nothing more then but `finish`.
    """

    def start(self, total: int | None) -> None:
        """It begins.

        Args:
            total: How many calls there are; None if that is not known.
        """

    def advance(self, count: int, failed: int) -> None:
        """Some calls have ended. Told about ten times a second, not for each.

        Args:
            count: How many more.
            failed: How many of these ended in an error.
        """

    def finish(self) -> None:
        """It is over, whether all calls have ended or not."""


Wanted = Progress | bool | str | None
"""What users say: True for a bar, the name of one, a progress of their own, or nothing."""


class Meter:
    """Counts calls that have ended, and tells a progress from time to time.

    Args:
        progress: Who is told; None for nobody.
        total: How many calls there are; None if that is not known.
    """

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._count = 0
        self._failed = 0
        self._due = 0.0
        self._error: BaseException | None = None
        self._began = False

    def begin(self) -> None:
        """Results are about to be taken.

        Raises:
            Exception: Whatever the progress raises.
        """
        if self._progress is not None and not self._began:
            self._began = True
            self._progress.start(self._total)

    def add(self, count: int, failed: int = 0) -> None:
        """So many calls have ended. Raises nothing: see `check`."""
        if self._progress is None:
            return
        self._count += count
        self._failed += failed
        if monotonic() >= self._due:
            self._tell()

    def look(self) -> None:
        """Nothing is there at the moment: tell what has not been told, if it is time."""
        if self._count and monotonic() >= self._due:
            self._tell()

    def check(self) -> None:
        """Raise what the progress raised, once.

        Raises:
            Exception: That.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error

    def end(self) -> None:
        """No more results are taken. May be called again.

        Raises:
            Exception: Whatever the progress raises, now or since the last `check`.
        """
        progress = self._progress
        if progress is None or not self._began:
            return
        self._tell()
        self._progress = None
        progress.finish()
        self.check()

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
    """A progress that has failed: it is told that it is over, and nothing else."""

    def __init__(self, progress: Progress) -> None:
        self.finish = progress.finish

    def start(self, total: int | None) -> None:
        """It has begun."""

    def advance(self, count: int, failed: int) -> None:
        """It does not want to know."""


def total_of(iterables: Iterable[Iterable[Any]]) -> int | None:
    """How many calls there will be, the shortest iterable ending them all; None if unknown."""
    lengths = [length_of(iterable) for iterable in iterables]
    known = [length for length in lengths if length is not None]
    return min(known) if lengths and len(known) == len(lengths) else None


def chosen(wanted: object) -> Progress | None:
    """The progress that a user asked for; None for none.

    Raises:
        ImportError: What it is drawn with is not installed.
        TypeError: It is neither a bool, nor a name, nor a progress.
        ValueError: There is none of that name.
    """
    if wanted is None or wanted is False:
        return None
    if wanted is True or isinstance(wanted, str):
        from tokengate_mp.bulk.bars import bar  # noqa: PLC0415 - most maps show nothing

        return bar(None if wanted is True else wanted)
    if isinstance(wanted, Progress) and not isinstance(wanted, type):
        return wanted
    raise TypeError(
        f'progress must be True, "rich", "tqdm", or have the methods start(total), '
        f"advance(count, failed) and finish(), as tokengate_mp.Progress says; not "
        f"{wanted!r}"
    )
