"""The context that tokens begin with: a copy of what the initializer left.

A copy takes the same short time however much is in it. Values are not copied, but for one: the
context of `decimal` is an object that programs change in place.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import decimal
    from collections.abc import Callable

_DECIMAL: Final = "decimal_context"


class BaseContext:
    """The context of the thread that made this object, as it was then.

    Attributes:
        begin: Gives the context of a token that begins.
    """

    __slots__ = ("_base", "_decimal", "begin")

    def __init__(self) -> None:
        self._base = copy_context()
        self._decimal = _decimal_of(self._base)
        self.begin: Callable[[], Context] = (
            self._base.copy if self._decimal is None else self._with_decimal
        )

    def _with_decimal(self) -> Context:
        context = self._base.copy()
        variable, value = cast("tuple[ContextVar[Any], decimal.Context]", self._decimal)
        context.run(variable.set, value.copy())
        return context


def _decimal_of(context: Context) -> tuple[ContextVar[Any], Any] | None:
    """The variable in which `decimal` keeps its context, and that context, if it was ever used."""
    for variable, value in context.items():
        if variable.name == _DECIMAL and type(value).__module__ == "decimal":
            return variable, value
    return None
