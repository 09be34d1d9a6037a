"""What this process is: a core process, one with a running coordinator, or neither.

This is the only process-wide state of the package. Decorated functions find here who takes their
calls, tokens who looks after them, and pickles who gives the tokens that they refer to. Everything
else is handed on as an argument.

The module stands below all others, so what is kept here is typed by those that read it. They read
the attributes below and never set them: each kind of process is opened in the functions here, and
in a fork of this process all is put right in one place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from tokengate_mp.locks import new_lock

# ---- a core process

core: int | None = None
"""The number of the core that this process serves; None in any other process."""

arena: Any = None
"""Where large results go (a `wire.arena.arena.CoreArena`); None: with all others."""

calls: Any = None
"""Where calls go that are made inside tokens (a `worker.nested.calls.Calls`); else None."""

# ---- a process with a running coordinator

claiming = new_lock()
"""Held while `coordinator` is claimed or released."""

coordinator: Any = None
"""The coordinator that was started in this process and not stopped; None if there is none."""

_abandon: Callable[[], object] | None = None

intake: Any = None
"""Where calls of decorated functions go (a `calls.token_function.Intake`); None: nowhere."""

control: Any = None
"""What looks after tokens (a `tokens.token.TokenController`); None: every token has ended."""

supports_freezing = False
"""Whether a frozen application would become a core process if it was started as one."""

# ---- both

finder: Callable[[int, str], Any] | None = None
"""Gives the token of a number and an operation type that a pickle refers to."""


def open_core(number: int, results: Any) -> None:
    """Make the process a core process, before any code of the user runs.

    Its initializer runs next: that is in a core process, and can make no tokens yet.

    Args:
        number: The core.
        results: Its `arena`.
    """
    global core, arena
    core, arena = number, results


def open_calls(taker: Any) -> None:
    """Let tokens of the core process make calls from now on.

    Args:
        taker: Its `calls`, which also is what gives tokens that pickles refer to.
    """
    global calls, finder
    calls, finder = taker, taker.refer


def claim(claimant: Any, abandon: Callable[[], object]) -> None:
    """Have a coordinator in the process. Needs `claiming`.

    Args:
        claimant: The `coordinator`.
        abandon: Called in a fork, where its core processes and tokens are those of the parent.
    """
    global coordinator, _abandon
    coordinator, _abandon = claimant, abandon


def release() -> None:
    """Have no coordinator in the process any more. Needs `claiming`."""
    global coordinator, _abandon  # noqa: PLW0603 - as in `open_core`
    coordinator = _abandon = None


def open_coordinator(taker: Any, controller: Any, finding: Callable[[int, str], Any]) -> None:
    """Let calls be made in the process from now on.

    Args:
        taker: Its `intake`.
        controller: Its `control`.
        finding: Its `finder`.
    """
    global intake, control, finder
    intake, control, finder = taker, controller, finding


def close_coordinator(taker: Any) -> None:
    """Take no calls in the process any more, as every token has ended.

    Args:
        taker: The `intake` that was opened. (Another thread may have started the next coordinator
            while this one ended: what was opened for that stays.)
    """
    global intake, control, finder  # noqa: PLW0603 - as in `open_core`
    if intake is taker:
        intake = control = finder = None


def support_freezing() -> None:
    """Note that the application becomes a core process where it is started as one."""
    global supports_freezing  # noqa: PLW0603 - as in `open_core`
    supports_freezing = True


def start_directory() -> str | None:
    """The working directory of the program when it was started; None if that is not known.

    It is known from when the package is imported, or `multiprocessing` if that was before.
    """
    earlier = sys.modules.get("multiprocessing.process")
    original: str | None = getattr(earlier, "ORIGINAL_DIR", None)
    return original or _directory


def _find_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


_directory = _find_directory()


def _part_after_fork() -> None:
    """Have no coordinator in a fork, as that is the parent's.

    The finder stays: tokens that had ended before can still be looked at here. What a core process
    is, its fork is too; its `calls` refuse all calls there.
    """
    global claiming, intake, control  # noqa: PLW0603 - as in `open_core`
    # Another thread may have held the lock, and there is no other thread in a fork.
    claiming = new_lock()
    intake = control = None
    abandon = _abandon
    release()
    if abandon is not None:
        abandon()


os.register_at_fork(after_in_child=_part_after_fork)
