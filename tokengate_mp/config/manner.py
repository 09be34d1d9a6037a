"""The manner in which core processes run the tokens of a function; it travels with the function."""

from __future__ import annotations

from typing import Final

import msgspec

from tokengate_mp.config.seeds import Lead


class Manner(msgspec.Struct, array_like=True, frozen=True):
    """What a core process has to know of a function's tokens before they begin.

    Attributes:
        lead: The chain that each token leads; None for none.
        exclusive: Whether a token has its core process to itself.
    """

    lead: Lead | None = None
    exclusive: bool = False


ORDINARY: Final = Manner()
"""The manner of tokens that lead nothing, and run beside others when they wait."""
