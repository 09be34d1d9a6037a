"""What tokens of the tests do. Core processes import it, so it is light: no test framework."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import gates
from tokengate_mp import task_token_guard

if TYPE_CHECKING:
    from collections.abc import Callable


@task_token_guard(operation_type="echo")
def echo(value: Any) -> Any:
    """Give back what is given."""
    return value


@task_token_guard(operation_type="square")
def square(number: int) -> int:
    """Give the square."""
    return number * number


@task_token_guard(operation_type="nap")
def nap(seconds: float) -> float:
    """Sleep, as work."""
    time.sleep(seconds)
    return seconds


@task_token_guard(operation_type="spin")
def spin(seconds: float) -> int:
    """Compute until so much CPU time of this thread is used."""
    until = time.thread_time() + seconds
    turns = 0
    while time.thread_time() < until:
        turns += 1
    return turns


@task_token_guard(operation_type="gated")
def gated(address: gates.Address, name: str = "") -> str:
    """Wait at a gate, off the CPU."""
    return gates.wait_at(address, name)


@task_token_guard(operation_type="spinning")
def spinning(address: gates.Address, name: str = "") -> str:
    """Wait at a gate, computing."""
    return gates.spin_at(address, name)


@task_token_guard(operation_type="where")
def where() -> tuple[int, int]:
    """Give the process and the thread that this runs in."""
    return os.getpid(), threading.get_native_id()


@task_token_guard(operation_type="die")
def die(how: int | signal.Signals) -> None:
    """End the core process: by a signal, or with an exit code."""
    sys.stderr.flush()
    if isinstance(how, signal.Signals):
        if how is signal.SIGSEGV:
            # A child of a crash does not write a core file as large as its memory.
            import resource  # noqa: PLC0415 - the only user

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), how)
        signal.pause()
    os._exit(how)


def apply(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that travels as an argument."""
    return function(*args)


def call(function: Callable[[], Any]) -> Any:
    """Call a function without arguments."""
    return function()
