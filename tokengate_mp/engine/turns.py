"""Requests for turns of the engine: from its own thread, and from others.

Calls of an executor come from other threads, and each time that wakes the loop, the caller waits
for the GIL meanwhile. So an engine may *expect* calls: for a moment after it took some in, and
unless there is nothing to do, other threads do not wake the loop, which looks for calls by itself
when the moment has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tokengate_mp.loops.host import Host
from tokengate_mp.loops.timers import Timer

EXPECTING_SECONDS: Final = 0.0005
"""How long after taking in calls more are expected."""


class Turns:
    """Has the loop take a turn, once for any number of requests until then.

    Args:
        host: The engine's loop and thread.
        take: Takes a turn, in the loop.
        is_busy: Whether the engine has tokens that have not ended; asked in any thread.
        has_calls: Whether calls wait to be taken in.

    Attributes:
        due: Whether the loop was asked for a turn and has not come to it.
    """

    __slots__ = ("_expecting", "_has_calls", "_host", "_is_busy", "_moment", "_take", "due")

    def __init__(
        self,
        host: Host,
        take: Callable[[], object],
        is_busy: Callable[[], bool],
        has_calls: Callable[[], bool],
    ) -> None:
        self._host = host
        self._take = take
        self._is_busy = is_busy
        self._has_calls = has_calls
        self._expecting = False
        self._moment = Timer(host.loop, self._look_for_calls)
        self.due = False

    def request_turn(self) -> None:
        """Take a turn when the loop runs again; in the loop's thread."""
        if not self.due:
            self._ask(self._host.loop.call_soon)

    def request_turn_threadsafe(self) -> None:
        """Thread-safe `request_turn`."""
        if not (self._expecting and self._is_busy()):
            self._ask(self._host.post)

    def _ask(self, ask: Callable[[Callable[[], object]], object]) -> None:
        try:
            self.due = True
            ask(self._take)
        except BaseException:  # Ctrl-C, for one: whoever is next asks again
            self.due = False
            raise

    def expect_calls(self) -> None:
        """Expect more calls from other threads for a moment."""
        self._expecting = True
        self._moment.run_within(EXPECTING_SECONDS)

    def _look_for_calls(self) -> None:
        # In this order: whoever comes after the look finds that nobody is expected.
        self._expecting = False
        if self._has_calls():
            self.request_turn()

    def cancel(self) -> None:
        """Look for no more calls."""
        self._moment.cancel()
