"""Calls that do something terrible at a chosen moment of their lives."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from typing import Any

import gates

from tokengate_mp import task_token_guard
from tokengate_mp.wire.channel.ring import RingWriter


def go_off(how: str) -> None:
    """Do it, in whatever process and thread this is."""
    if how == "raise":
        raise ValueError("went off")
    if how == "sys.exit":
        sys.exit(3)
    if how == "os._exit":
        os._exit(3)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(60)  # a signal to the process may be taken by another thread


class GoesOffLoaded:
    """An argument that does it when it is loaded."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        return go_off, (self.how,)


class GoesOffDumped:
    """A result that does it when it is pickled."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        go_off(self.how)
        raise AssertionError("it should have gone off")


@task_token_guard(operation_type="bomb.decode", timeout=0.7)
def decode(_argument: Any) -> None:
    """Be called with an argument."""


@task_token_guard(operation_type="bomb.run", timeout=0.7)
def run(how: str) -> None:
    """Do it."""
    go_off(how)


@task_token_guard(operation_type="bomb.encode", timeout=0.7)
def encode(how: str) -> Any:
    """Return what does it."""
    return GoesOffDumped(how)


@task_token_guard(operation_type="bomb.write", timeout=0.7)
def write(how: str) -> None:
    """Let it be done by the writing of this very outcome."""

    def write_instead(*_arguments: object) -> bool:
        go_off(how)
        return True

    RingWriter.append_records = write_instead  # type: ignore[method-assign]


@task_token_guard(operation_type="bomb.idle")
def when_let(address: gates.Address, how: str) -> None:
    """Do it later, in a thread, when this core has nothing to do."""

    def wait() -> None:
        gates.wait_at(address)
        go_off(how)

    threading.Thread(target=wait, daemon=True).start()
