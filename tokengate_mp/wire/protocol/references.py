"""References: tokens as part of the value of another token.

A token in a value travels as its number and operation: a call of `referred`, by which the process
that loads the value finds the token, or makes one. While a value is pickled, the thread collects
the tokens in it (`encoding`), since whoever sends the value has to say which tokens it needs.
"""

from __future__ import annotations

import threading
from typing import Any, Final, Protocol

from tokengate_mp import this_process
from tokengate_mp.errors import CoordinatorNotRunning

_REFERENCE_MARK: Final = __name__.encode()
"""In each pickle that refers to tokens: it names `referred`."""


class Referable(Protocol):
    """A token that a value may refer to."""

    number: int

    @property
    def operation_type(self) -> str:
        """The operation of its call."""


class _Encoding(threading.local):
    """The value that a thread is pickling.

    Attributes:
        references: The tokens found in the value so far; None while no value is pickled.
    """

    references: list[Any] | None = None


encoding: Final = _Encoding()


def reference(token: Referable) -> tuple[Any, ...] | None:
    """Reduce a token to a reference, and collect the token; None while no value is pickled."""
    references = encoding.references
    if references is None:
        return None
    references.append(token)
    return referred, (token.number, token.operation_type)


def refers(pickled: bytes) -> bool:
    """Whether a pickle refers to tokens (or looks as if)."""
    return _REFERENCE_MARK in pickled


def referred(number: int, operation_type: str) -> Any:
    """Find the token of a reference; called as a value is unpickled.

    Raises:
        CoordinatorNotRunning: The coordinator that knows the token was stopped.
    """
    finder = this_process.finder
    if finder is None:
        raise CoordinatorNotRunning(
            f"a result refers to token {number}, a call of {operation_type!r}, and the coordinator "
            "that ran it was stopped. Await it before."
        )
    return finder(number, operation_type)
