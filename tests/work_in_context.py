"""Context variables of the tests, and what tokens see of them. Core processes import it."""

from __future__ import annotations

import contextvars
import decimal
from typing import Any

from tokengate_mp import task_token_guard

REQUEST: contextvars.ContextVar[Any] = contextvars.ContextVar("request", default="none")
USER: contextvars.ContextVar[Any] = contextvars.ContextVar("user")


@task_token_guard(operation_type="see", context=True)
def see(*_args: Any, **_kwargs: Any) -> tuple[Any, Any]:
    """Give what is seen of the variables."""
    return REQUEST.get(), USER.get("nobody")


@task_token_guard(operation_type="blind")
def blind() -> tuple[Any, Any]:
    """The same, of whatever is there."""
    return REQUEST.get(), USER.get("nobody")


@task_token_guard(operation_type="spoil", context=True)
def spoil(value: Any) -> Any:
    """Change what is there, and give what it was."""
    before = REQUEST.get()
    if isinstance(before, list):
        before.append(value)
    REQUEST.set(value)
    USER.set(value)
    decimal.getcontext().prec = 5
    return before


@task_token_guard(operation_type="pass on", context=True)
def pass_on(depth: int) -> Any:
    """Give what tokens see that are made in tokens."""
    return pass_on(depth - 1).get() if depth else (see().get(), blind().get())


@task_token_guard(operation_type="late")
def late() -> Any:
    """Make a call, set a variable, and wait."""
    REQUEST.set("of the test")
    token = see()
    USER.set("late")
    return token.get()


@task_token_guard(operation_type="third", context=True)
def third() -> str:
    """Divide as precisely as the context of decimal says."""
    return str(decimal.Decimal(1) / 3)


@task_token_guard(operation_type="raises", context=True)
def raises() -> None:
    """Fail."""
    raise ValueError(REQUEST.get())
