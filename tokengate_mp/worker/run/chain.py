"""The chain that the calls of a thread are made in: part of the thread's context."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, NamedTuple


class ChainRef(NamedTuple):
    """A chain, named by its lead and its seed.

    Attributes:
        lead: The number of its lead.
        seed: Its seed.
    """

    lead: int
    seed: str


CURRENT_CHAIN: Final[ContextVar[ChainRef | None]] = ContextVar("tokengate_mp.chain", default=None)
"""The chain that calls are made in. Threads that are started with a copy of the context have it."""
