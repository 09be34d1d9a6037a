"""What a thread is doing, and the chain that its token is in, for what that makes.

The chain travels with the context of the thread, and the rest is the thread's own.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Final, NamedTuple


class Chain(NamedTuple):
    """The chain that a token is in.

    Attributes:
        lead: The number of its lead.
        seed: Its seed.
    """

    lead: int
    seed: str


class Here(threading.local):
    """What a thread of a core process is doing.

    Attributes:
        slot: The slot that it has in the crew; None if it is no crew thread.
        reach: The slot in which it can be interrupted; None if it runs no token.
        depth: How many tokens it runs on top of the first.
    """

    slot: int | None = None
    reach: int | None = None
    depth = 0


CHAIN: Final[ContextVar[Chain | None]] = ContextVar("tokengate_mp.chain", default=None)
"""The chain that calls are made in. Threads that are started with a copy of the context have it."""
