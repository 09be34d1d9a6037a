"""Signals in a core process, and in what it starts.

A core process is in the process group of its parent, as a worker of a pool is: so whatever a
terminal sends reaches it, and the commands that its functions have started: Ctrl-C, Ctrl-Z, and the
hang-up. Ctrl-C is for the parent to act on. A core process takes it and does nothing; it does not
ignore it, as commands would inherit that. They begin with the signals as they are in the parent.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def leave_ctrl_c_to_parent(*, blocked: bool) -> None:
    """Take SIGINT without effect from now on; in the main thread, before there are others.

    Args:
        blocked: Whether SIGINT is to stay blocked: it is, while the process starts.
    """
    # (If it is ignored, the parent was told so by whoever started it, as by nohup or a shell.)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _nothing)
        os.register_at_fork(after_in_child=_as_in_any_process)
    if not blocked:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _nothing(_number: int, _frame: FrameType | None) -> None:
    return


def _as_in_any_process() -> None:
    """Let Ctrl-C end a fork of the process."""
    if signal.getsignal(signal.SIGINT) is _nothing:
        signal.signal(signal.SIGINT, signal.default_int_handler)
