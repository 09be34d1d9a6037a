"""The concurrency limit of an operation: how many of its tokens cores may hold at once.

A limit counts what cores hold, whether it runs or lies behind something else: a token counts from
when it is sent until its core has answered for it, also if it was killed meanwhile. Two kinds of
token are counted and never held back, since others may wait for them where they are: those made in
a chain, which are on their core from the first; and one that is claimed while every token that
counts waits for another one (see `nested.waits`).

A limit is a number and knows no queues: `waiting.limited_queue` has those, and
`cores.limited_admission` takes tokens out of them.
"""

from __future__ import annotations


class ConcurrencyLimit:
    """A count of held tokens, and the most there may be.

    Args:
        name: The operation.
        most: How many of its tokens cores may hold.

    Attributes:
        held: How many tokens of the operation cores hold.
    """

    __slots__ = ("held", "most", "name")

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        self.held = 0

    @property
    def room(self) -> int:
        """How many more tokens may be sent; below 0 if some were not held back."""
        return self.most - self.held
