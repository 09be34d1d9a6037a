"""The chain that a token is in, for what it makes: it travels with the context of its thread."""

from __future__ import annotations

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


CHAIN: Final[ContextVar[Chain | None]] = ContextVar("tokengate_mp.chain", default=None)
"""The chain that calls are made in. Threads that are started with a copy of the context have it."""
