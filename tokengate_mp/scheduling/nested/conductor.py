"""The conductor: chains, each of which stays on one core.

A lead opens a *chain*, which goes by the lead's number. The core that the lead is sent to is the
chain's from then on, and every token made while the lead or one of its descendants runs is run
there. A chain counts its *pending* tokens: one with the lead, one more for each that joins, one
less for each that ends, however that happens. At zero it is released.

Members are made on their core and never wait elsewhere, with one exception: what a core that died
had not begun, and what is to be run again. Such tokens are *held* for the chain's core, and go to
its next process, all of them; or, should there be none any more, to another core, all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tokengate_mp.scheduling.model.ticket import Ticket


def leads_chain(ticket: Ticket) -> bool:
    """Whether a token is the lead of a chain."""
    policy = ticket.operation.policy
    return policy is not None and policy.lead is not None


class Chain:
    """A lead, and the tokens that were made while the lead or a descendant ran.

    Attributes:
        lead: The number of its lead.
        core: The core that the chain is pinned to; None until the lead was sent to one.
        pending: How many of its tokens have not ended.
    """

    __slots__ = ("core", "lead", "pending")

    def __init__(self, lead: int, core: int | None) -> None:
        self.lead = lead
        self.core = core
        self.pending = 0


class Conductor:
    """All chains.

    Attributes:
        chains: All chains, by their leads' numbers.
        members: The chains that a token counts in, by its number: the chain that it was made in,
            and for a lead also its own. The first of them says where it runs.
        unlanded: The leads that have not been sent to a core.
        held: Tokens that wait for the core of their chain, by number.
    """

    __slots__ = ("_looked", "chains", "held", "members", "unlanded")

    def __init__(self) -> None:
        self.chains: dict[int, Chain] = {}
        self.members: dict[int, tuple[Chain, ...]] = {}
        self.unlanded: set[int] = set()
        self.held: dict[int, Ticket] = {}
        # The cores and names for which all held tokens were looked through. None can be sent before
        # these change, or more is held.
        self._looked: tuple[int, frozenset[str]] | None = None

    def open_chain(self, lead: int) -> Chain:
        """Open the chain of a lead, on the core of the surrounding chain, if there is any.

        Such a lead has to join that chain first.
        """
        outer = self.members.get(lead, ())
        chain = self.chains[lead] = Chain(lead, outer[0].core if outer else None)
        if chain.core is None:
            self.unlanded.add(lead)
        self._count(lead, chain)
        return chain

    def join_chain(self, number: int, lead: int, core: int) -> Chain:
        """Count a token that was made in a chain, on the chain's core.

        A thread that a token leaves behind may make calls when its chain has ended: those are a
        chain of their own, under the same number.
        """
        chain = self.chains.get(lead)
        if chain is None:
            chain = self.chains[lead] = Chain(lead, core)
        self._count(number, chain)
        return chain

    def _count(self, number: int, chain: Chain) -> None:
        chain.pending += 1
        self.members[number] = (*self.members.get(number, ()), chain)

    def pin_chain(self, number: int, core: int) -> None:
        """Pin the chain of a token, if a lead without a core, to the core of the token."""
        if number in self.unlanded:
            self.unlanded.discard(number)
            self.chains[number].core = core

    def may_go_anywhere(self, number: int) -> bool:
        """Whether a token that was given back unbegun may go to any core again.

        A lead may, and its chain loses the core, as long as nothing depends on where it was.
        """
        chains = self.members.get(number, ())
        if len(chains) == 1 and chains[0].lead == number and chains[0].pending == 1:
            chains[0].core = None
            self.unlanded.add(number)
            return True
        return not chains

    def is_member(self, number: int) -> bool:
        """Whether a token was made in a chain, and so runs on the chain's core alone."""
        chains = self.members.get(number)
        return chains is not None and chains[0].lead != number

    def hold(self, ticket: Ticket) -> bool:
        """Hold a token for the core of its chain; False if no chain with a core has the token."""
        chains = self.members.get(ticket.number)
        if chains is None or chains[0].core is None:
            return False
        self.held[ticket.number] = ticket
        self._looked = None
        return True

    def drop_held(self, number: int) -> bool:
        """Drop a held token that has ended; False if the token is not held."""
        return self.held.pop(number, None) is not None

    def take_sendable(self, cores: int, paused: Iterable[str]) -> Iterator[tuple[Ticket, int]]:
        """Take the tokens that are held for any of `cores`, oldest first, each with its core.

        Args:
            cores: Cores that are ready, as a set of bits.
            paused: The operations whose tokens may not be sent now.
        """
        asked = cores, frozenset(paused)
        if asked == self._looked:
            return
        for number, ticket in sorted(self.held.items()):
            core = self.members[number][0].core
            lets_pass = ticket.operation.name not in asked[1]
            if core is not None and cores >> core & 1 and lets_pass:
                del self.held[number]
                yield ticket, core
        self._looked = asked

    def leave_chains(self, number: int) -> None:
        """Count a token that has ended off its chains."""
        for chain in self.members.pop(number, ()):
            chain.pending -= 1
            if not chain.pending:
                del self.chains[chain.lead]
        self.unlanded.discard(number)
        self.held.pop(number, None)

    def move_chains(self, gone: int, core: int | None) -> list[Ticket]:
        """Move the chains of cores that will never be ready again, each as a whole.

        Args:
            gone: The cores, as a set of bits.
            core: Where to; None if there is no core left.

        Returns:
            Held tokens that can be run nowhere.
        """
        self._looked = None
        for chain in self.chains.values():
            if core is not None and chain.core is not None and gone >> chain.core & 1:
                chain.core = core
        if core is not None:
            return []
        stranded = list(self.held.values())
        self.held.clear()
        return stranded

    def validate(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: One is broken.
        """
        pending = dict.fromkeys(self.chains, 0)
        for number, chains in self.members.items():
            for chain in chains:
                assert self.chains.get(chain.lead) is chain, f"{number} is in no known chain"
                pending[chain.lead] += 1
        for lead, chain in self.chains.items():
            assert chain.pending == pending[lead] > 0, f"chain {lead} counts {chain.pending}"
            assert (chain.core is None) == (lead in self.unlanded), f"chain {lead}: its core"
        assert self.held.keys() <= self.members.keys(), "a token is held, and in no chain"
        assert self.unlanded <= self.chains.keys(), "a lead without a chain"
