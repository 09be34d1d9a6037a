"""Where a map sends its batches: a coordinator, or an executor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from tokengate_mp.config.options import TokenOptions
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.tokens.enrolled import Enrolled, Version
from tokengate_mp.tokens.forwarding import ForwardingToken, Recipient
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.payload.attachments import AttachedRecord


class Sender(Protocol):
    """Takes in calls: a coordinator or an executor.

    Attributes:
        closed: Whether no more calls are taken in.
        loop: The coordinator's loop.
        cores: How many core domains there are.
        arena: Where large arguments go; None: with all others.
    """

    closed: bool
    loop: asyncio.AbstractEventLoop
    cores: int
    arena: ParentArena | None

    def next_number(self) -> int:
        """The number of the next token."""

    def enrol(
        self, function: Callable[..., Any], options: TokenOptions, *, divisible: bool = False
    ) -> Enrolled:
        """Make a function known, as it is now, and the operation of its calls.

        Args:
            function: The function.
            options: How its tokens are treated.
            divisible: Whether a core can be asked to give part of a token back that it runs.
        """

    def forward(  # noqa: PLR0913 - all that such a call is
        self,
        number: int,
        operation: Operation,
        record: bytes | AttachedRecord,
        version: Version,
        recipient: Recipient,
        *,
        expected: int | None = None,
    ) -> ForwardingToken[Any]:
        """Take in an encoded call whose outcome goes to `recipient`.

        Args:
            number: The token's number.
            operation: The operation of the call.
            record: The call.
            version: The function, as it was enrolled.
            recipient: Where the outcome goes.
            expected: How long the call will probably take, ns, if that is known.
        """

    def withdraw(self, token: ForwardingToken[Any]) -> None:
        """Withdraw a token whose outcome nobody wants any more; from any thread."""
