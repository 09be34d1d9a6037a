"""What runs in a core process, and nothing else.

This package is apart from the coordinator because a core process must start quickly and stay small:
it imports the wire, the first floor and little of the standard library; no asyncio, no
coordinator, no user module before a token needs one.
"""

from __future__ import annotations

from typing import Any

core: int | None = None
"""The number of the core that this process serves; None in any other process."""

arena: Any = None
"""Where large results go (a `wire.arena.arena.CoreArena`); None: with all others."""

calls: Any = None
"""Where calls go that are made inside tokens (a `chain.Calls`); None in any other process."""
