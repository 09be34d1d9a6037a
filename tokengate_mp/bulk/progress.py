"""Progress: what a user gives to be told how far many calls have got."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Told how far many calls have got, in the thread that takes their results.

    What a method raises is raised to whoever takes results, after the results that are there; then
    only `finish` is called any more.
    """

    def start(self, total: int | None) -> None:
        """Begin.

        Args:
            total: The number of calls; None if that is not known.
        """

    def advance(self, count: int, failed: int) -> None:
        """Take note that calls have ended; called about ten times a second, not for each call.

        Args:
            count: How many more have ended.
            failed: How many of them ended in an error.
        """

    def finish(self) -> None:
        """End, whether all calls have ended or not."""


Wanted = Progress | bool | str | None
"""The option of users: True for a bar, the name of a bar, a progress of their own, or nothing."""
