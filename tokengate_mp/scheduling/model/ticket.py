"""What scheduling sees of a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tokengate_mp.lifecycle import TokenState

if TYPE_CHECKING:
    from tokengate_mp.scheduling.model.operation import (
        Operation,  # which knows its limit, and so lanes
    )


class Ticket(Protocol):
    """A token, as far as scheduling is concerned.

    The coordinator's `Token` is one: a record of its own for each token would cost as much memory
    and time as the scheduling itself.

    Attributes:
        number: Its number, from 1, in the order of the calls.
        operation: The operation that it is a call of.
        stage: Its state as recorded here. (Whether an ADMITTED token is EXECUTING is known only to
            its core process.)
        core: The core it was last sent to, from 1; None before.
        cost: What it was charged against that core's window, ns.
        admitted: When it was last sent to a core, ns.
        created: When the call was made, ns.
    """

    number: int
    operation: Operation
    stage: TokenState
    core: int | None
    cost: int
    admitted: int
    created: int
