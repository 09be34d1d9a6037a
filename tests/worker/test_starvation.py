"""Telling a thread that blocks from one that gets no CPU."""

from __future__ import annotations

import threading

from leaks import holdings

from tokengate_mp.worker.run.starvation import CloserLook


def test_looking_at_threads_that_end_keeps_nothing_open() -> None:
    """Threads of the user's own run tokens too, as many as they are."""
    open_before = holdings().keys()

    def look() -> None:
        CloserLook().blocked(1_000_000)

    for _ in range(10):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert not holdings().keys() - open_before
