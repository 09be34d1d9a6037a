"""The tokens that a core process refers to: made here, or found in a value."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol
from weakref import ref

from tokengate_mp.wire.protocol.records import Request


class KnownToken(Protocol):
    """A token as the crew sees it.

    Attributes:
        number: Its number.
        operation_type: The operation of its call.
        hint: Numbers and operations of the tokens that it needs, as far as the parent has told.
        request: Its request, when that is here to be run and a thread waits for the token.
        waiters: How many threads wait for it.
    """

    number: int
    operation_type: str
    hint: list[tuple[int, str]]
    request: Request | None
    waiters: int

    def has_news(self) -> bool:
        """Whether a thread that waits for the token has something to act on."""

    def accept_outcome(self, record: bytes, *, here: bool) -> None:
        """Take in the outcome of the token, which was run in the process or not."""


class KnownTokens:
    """The tokens that this process refers to, and those to which it has stopped referring.

    Attributes:
        lock: Held while a token is looked up and made, or forgotten: of two for the same number,
            the second would never get its outcome.
        by_number: Weak references to the tokens.
        dropped: Numbers of tokens to which nothing refers any more, to be told to the parent.
        forsaken: Likewise, where only a token referred to them that was ended from outside.
    """

    __slots__ = ("by_number", "dropped", "forsaken", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.by_number: dict[int, ref[KnownToken]] = {}
        self.dropped: deque[int] = deque()
        self.forsaken: deque[int] = deque()

    def find_token(self, number: int) -> KnownToken | None:
        """Return the token of that number; None if the process refers to no such token."""
        known = self.by_number.get(number)
        return None if known is None else known()

    def operation_of(self, number: int) -> str | None:
        """Return the operation of a token; None if the process does not know the token."""
        token = self.find_token(number)
        return None if token is None else token.operation_type

    def disown_lock(self) -> None:
        """Replace the lock, in a fork of the process: another thread may have held the old lock."""
        self.lock = threading.RLock()
