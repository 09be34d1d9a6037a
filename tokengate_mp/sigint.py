"""Ctrl-C at a bad moment: held back until what was begun is whole again, and told from user code.

Python raises `KeyboardInterrupt` between any two instructions of the main thread. In the middle of
starting or stopping processes, what had been done by then would be known to nobody any more. And
the code of a user's object may raise the same exception by itself, which is no Ctrl-C at all.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class HeldBack:
    """Holds Ctrl-C back while entered: it is only noted, and has its effect on leaving.

    In the main thread, and where Python sees to the signal: elsewhere nothing is changed.

    Raises:
        BaseException: On leaving, whatever the handler raises: `KeyboardInterrupt` as a rule.
    """

    def __init__(self) -> None:
        self._handler: Any = None
        self._noted: tuple[int, FrameType | None] | None = None

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._noted = number, frame

    def __enter__(self) -> None:
        if _is_main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # else the system ignores it, or ends the process
                self._handler = handler
                signal.signal(signal.SIGINT, self._note_signal)

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


def is_raised_by(code: Callable[[], object], error: BaseException) -> bool:
    """Whether `code` raised `error` by itself, without a Ctrl-C or interruption from outside.

    An `Exception` never comes from outside. For any other, `code` is run again with Ctrl-C held
    back: what it raises by itself, it raises again.

    Args:
        code: The code that was run; may be run again.
        error: The exception that came out of it.

    Raises:
        BaseException: Ctrl-C came in the second run: whatever the handler raises.
    """
    kind = type(error)  # its `__class__` may say something else
    if issubclass(kind, Exception):
        return True
    if issubclass(kind, KeyboardInterrupt) and not _is_main_thread():
        return True
    with HeldBack():
        try:
            code()
        except BaseException as again:  # noqa: BLE001 - only its type matters
            return type(again) is kind
    return False


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
