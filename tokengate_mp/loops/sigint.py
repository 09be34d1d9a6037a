"""Ctrl-C at a bad moment: held back until what was begun is whole again.

Python raises `KeyboardInterrupt` between any two instructions of the main thread. In the middle of
starting or stopping processes, what had been done by then would be known to nobody any more.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class HeldBack:
    """While it is entered, Ctrl-C is only noted; on leaving, it has the effect that it has outside.

    In the main thread, and where Python sees to the signal: elsewhere nothing is changed.

    Raises:
        BaseException: On leaving, whatever the handler raises: `KeyboardInterrupt` as a rule.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._noted: tuple[int, FrameType | None] | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = number, frame

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # else the system ignores it, or ends the process
                self._handler = handler
                signal.signal(signal.SIGINT, self._note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._handler is None:
            return
        # Handlers run in the main thread, which is this one: from here on none will note anything.
        signal.signal(signal.SIGINT, self._handler)
        if self._noted is not None:
            self._handler(*self._noted)
