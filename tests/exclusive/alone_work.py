"""Functions for the tests of exclusive tokens. Core processes import it."""

from __future__ import annotations

import contextvars
import decimal
import threading

import gates

from tokengate_mp import task_token_guard

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")
OWN = threading.local()


def prepare() -> None:
    """Set what tokens find: a precision, a variable, and something of the thread."""
    decimal.getcontext().prec = 50
    MARK.set("prepared")
    OWN.name = "main"


def surroundings() -> tuple[int, str, str]:
    """Give what is found of these, and spoil it for others."""
    found = decimal.getcontext().prec, MARK.get(), getattr(OWN, "name", "")
    decimal.getcontext().prec = 3
    MARK.set("spoilt")
    return found


def thread_and_wait(address: gates.Address, name: str) -> bool:
    """Wait at a gate; give whether that was in the main thread."""
    gates.wait_at(address, name)
    return threading.current_thread() is threading.main_thread()


shared = task_token_guard(operation_type="shared")(thread_and_wait)
alone = task_token_guard(operation_type="alone", exclusive=True)(thread_and_wait)
seen = task_token_guard(operation_type="seen")(surroundings)
