"""The chains that tokens of a core process run in."""

from __future__ import annotations

from tokengate_mp.worker.crew.unannounced import Unannounced
from tokengate_mp.worker.run.chain import CURRENT_CHAIN, ChainRef
from tokengate_mp.worker.run.function import Function


class Chains:
    """Puts threads into the chain of the token that is theirs to run.

    Args:
        unannounced: Members of chains that the parent does not know of.
        prefix: The beginning of the ids of tokens.

    Attributes:
        joined: By number, the chain of each token that waits here and is in a chain it does not
            lead.
    """

    __slots__ = ("_prefix", "_unannounced", "joined")

    def __init__(self, unannounced: Unannounced, prefix: str) -> None:
        self.joined: dict[int, ChainRef] = {}
        self._unannounced = unannounced
        self._prefix = prefix

    def enter_chain(self, number: int, function: Function) -> None:
        """Let the calling thread make tokens in the chain of the token that begins now."""
        if number in self._unannounced.members:
            self._unannounced.announce_all()
        chain = self.joined.pop(number, None)
        if function.lead is not None:
            chain = ChainRef(number, function.lead.seed(f"{self._prefix}-{number}"))
        CURRENT_CHAIN.set(chain)

    def leave_chain(self) -> None:
        """End `enter_chain`: announce members that the token has made, before its outcome."""
        CURRENT_CHAIN.set(None)
        if self._unannounced.members:
            self._unannounced.announce_all()
