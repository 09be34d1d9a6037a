"""Calls of functions that were not decorated: `submit` and `map` of a coordinator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tokengate_mp.calls.decorator import is_constant, operation_name, refuse_unsuitable
from tokengate_mp.calls.token_function import TokenFunction
from tokengate_mp.config.option_table import token_options
from tokengate_mp.config.options import TokenOptions
from tokengate_mp.tokens.token import Token
from tokengate_mp.worker.run.applied import apply


class PlainCalls:
    """Makes tokens of plain functions, and remembers the function that was called last.

    Attributes:
        last: The plain function that was called last, decorated: most programs submit one function
            many times. None before the first.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: TokenFunction[..., Any] | None = None

    def call_plain(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Token[Any]:
        """Make a token of calling a callable of any kind.

        Raises:
            TypeError: The callable is not fit for a token.
            PayloadError: The callable or an argument cannot be encoded.
        """
        if isinstance(function, TokenFunction):
            token: Token[Any] = function(*args, **kwargs)
            return token
        if is_constant(function):
            self.last = decorated = decorated_plainly(function)
            return decorated(*args, **kwargs)
        # Anything else may change between two calls, so it travels with each, as an argument.
        refuse_unsuitable(function)
        by_argument = TokenFunction(apply, _alone(function))
        return by_argument(function, *args, **kwargs)


def decorated_plainly(function: Callable[..., Any]) -> TokenFunction[..., Any]:
    """Decorate a callable as an exclusive one; a decorated function is returned unchanged.

    Who writes a plain function has a process in mind in which nothing else runs, as in a pool.

    Raises:
        TypeError: The callable is not fit for a token.
        PayloadError: The callable cannot be encoded.
    """
    if isinstance(function, TokenFunction):
        return function
    refuse_unsuitable(function)
    return TokenFunction(function, _alone(function))


def _alone(function: Callable[..., Any]) -> TokenOptions:
    return token_options(operation_name(function), exclusive=True)
