"""The conductor: chains, each of which stays on one core.

A lead opens a *domain*, which has the lead's number. The core that the lead is sent to is the
domain's from then on, and every token made while the lead or one of its descendants runs is run
there. A domain counts its *pending* tokens: one with the lead, one more for each that joins, one
less for each that ends, however that happens. At zero it is released.

Members are made on their core and never wait elsewhere, with one exception: what a core that died
had not begun, and what is to be run again. Such tokens are *held* for the domain's core, and go to
its next process, all of them; or, should there be none any more, to another core, all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tokengate_mp.scheduling.model.ticket import Ticket


class Domain:
    """One chain.

    Attributes:
        lead: The number of its lead.
        core: The core that it is pinned to; None until the lead was sent to one.
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
        domains: By their leads' numbers.
        members: The domains that a token counts in, by its number: that of the chain that it was
            made in, and as a lead also its own. The first of them says where it runs.
        unlanded: The leads that have not been sent to a core.
        held: Tokens that wait for the core of their domain, by number.
    """

    __slots__ = ("_looked", "domains", "held", "members", "unlanded")

    def __init__(self) -> None:
        self.domains: dict[int, Domain] = {}
        self.members: dict[int, tuple[Domain, ...]] = {}
        self.unlanded: set[int] = set()
        self.held: dict[int, Ticket] = {}
        # For which cores and names all that is held has been looked through. Nothing of it can be
        # sent before these are others, or more is held.
        self._looked: tuple[int, frozenset[str]] | None = None

    def open(self, lead: int) -> Domain:
        """A lead: its new domain, on the core of the chain that it was made in, if it was in one.

        Such a lead has to join that chain first.
        """
        outer = self.members.get(lead, ())
        domain = self.domains[lead] = Domain(lead, outer[0].core if outer else None)
        if domain.core is None:
            self.unlanded.add(lead)
        self._count(lead, domain)
        return domain

    def join(self, number: int, lead: int, core: int) -> Domain:
        """A token was made in a chain, on its core: the domain.

        A thread that a token leaves behind may make calls when its chain has ended: those are a
        chain of their own, under the same number.
        """
        domain = self.domains.get(lead)
        if domain is None:
            domain = self.domains[lead] = Domain(lead, core)
        self._count(number, domain)
        return domain

    def _count(self, number: int, domain: Domain) -> None:
        domain.pending += 1
        self.members[number] = (*self.members.get(number, ()), domain)

    def landed(self, number: int, core: int) -> None:
        """A lead was sent to a core."""
        if number in self.unlanded:
            self.unlanded.discard(number)
            self.domains[number].core = core

    def taken_back(self, number: int) -> bool:
        """A token of a chain was given back unbegun; whether it may go to any core again.

        A lead may, as long as nothing depends on where it was.
        """
        domains = self.members.get(number, ())
        if len(domains) == 1 and domains[0].lead == number and domains[0].pending == 1:
            domains[0].core = None
            self.unlanded.add(number)
            return True
        return not domains

    def hold(self, ticket: Ticket) -> bool:
        """Keep a token for the core of its chain; False if it is in none that has a core."""
        domains = self.members.get(ticket.number)
        if domains is None or domains[0].core is None:
            return False
        self.held[ticket.number] = ticket
        self._looked = None
        return True

    def unhold(self, number: int) -> bool:
        """A token that is held has ended, or is sent; False if it is not held."""
        return self.held.pop(number, None) is not None

    def ready(self, cores: int, paused: Iterable[str]) -> Iterator[tuple[Ticket, int]]:
        """Take those that are held for one of these cores, oldest first, each with its core.

        Args:
            cores: A set of bits.
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

    def left(self, number: int) -> None:
        """A token has ended."""
        for domain in self.members.pop(number, ()):
            domain.pending -= 1
            if not domain.pending:
                del self.domains[domain.lead]
        self.unlanded.discard(number)
        self.held.pop(number, None)

    def evict(self, gone: int, core: int | None) -> list[Ticket]:
        """Cores will never be ready again: their chains move, each as a whole.

        Args:
            gone: Those cores, as a set of bits.
            core: Where to; None if there is no core left.

        Returns:
            The tokens that cannot be run anywhere.
        """
        self._looked = None
        for domain in self.domains.values():
            if core is not None and domain.core is not None and gone >> domain.core & 1:
                domain.core = core
        if core is not None:
            return []
        stranded = list(self.held.values())
        self.held.clear()
        return stranded

    def validate(self) -> None:
        """Check what must always hold.

        Raises:
            AssertionError: It does not.
        """
        pending = dict.fromkeys(self.domains, 0)
        for number, domains in self.members.items():
            for domain in domains:
                assert self.domains.get(domain.lead) is domain, f"{number} is in no known domain"
                pending[domain.lead] += 1
        for lead, domain in self.domains.items():
            assert domain.pending == pending[lead] > 0, f"domain {lead} counts {domain.pending}"
            assert (domain.core is None) == (lead in self.unlanded), f"domain {lead}: its core"
        assert self.held.keys() <= self.members.keys(), "a token is held, and in no chain"
        assert self.unlanded <= self.domains.keys(), "a lead without a domain"
