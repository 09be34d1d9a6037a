"""The start that the core processes of a coordinator have in common: surroundings, and a door."""

from __future__ import annotations

import asyncio

from tokengate_mp.cores.surroundings import Surroundings
from tokengate_mp.cores.tracker_door import TrackerDoor
from tokengate_mp.errors import CoreStartError


class SharedStart:
    """The surroundings of all processes, taken once; until somebody wants those of now.

    Args:
        loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._door: TrackerDoor | None = None
        self._surroundings: Surroundings | None = None

    def surroundings(self) -> Surroundings:
        """Give the surroundings as they were when the first process was started, or at `renew`.

        Raises:
            CoreStartError: There is no interpreter, or no descriptor is left.
        """
        try:
            if self._door is None:
                self._door = TrackerDoor(self._loop)
            if self._surroundings is None:
                self._surroundings = Surroundings(self._door.fd)
        except OSError as error:
            raise CoreStartError(f"core processes cannot be started: {error}") from error
        return self._surroundings

    def renew(self) -> None:
        """Take the surroundings of now for processes that are started from now on.

        Raises:
            CoreStartError: As for `surroundings`; those of before stay then.
        """
        before = self.surroundings()
        try:
            self._surroundings = before.renewed()
        except OSError as error:
            raise CoreStartError(f"core processes cannot be started: {error}") from error
        before.close()

    def close(self) -> None:
        """Close the descriptors: no further process is started."""
        door, self._door = self._door, None
        surroundings, self._surroundings = self._surroundings, None
        if door is not None:
            door.close()
        if surroundings is not None:
            surroundings.close()

    def disown(self) -> None:
        """Close the descriptors in a fork, whose parent keeps its loop."""
        if self._door is not None:
            self._door.disown()
            self._door = None
        self.close()
