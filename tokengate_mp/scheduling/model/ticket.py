"""A token, as far as scheduling is concerned."""

from __future__ import annotations

from typing import Protocol

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.operation import Operation


class Ticket(Protocol):
    """The part of a token that the scheduler reads and writes.

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
