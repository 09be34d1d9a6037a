"""Relations: tokens that depend on others, or were made by others in a chain.

These are facts like those of `scheduler`, and stand apart because they are about more than one
token.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokengate_mp.scheduling.assignment import Assignment
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.endings import Endings
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.nested.conductor import Conductor, leads_chain
from tokengate_mp.scheduling.policy.deadlines import Deadlines
from tokengate_mp.scheduling.waiting.dependencies import Dependencies
from tokengate_mp.scheduling.waiting.gate import Gate


class Relations:
    """Takes in tokens that wait for others, and members of chains.

    Args:
        gate: Where tokens wait.
        ledger: The tokens that each core holds.
        assignment: Places tokens with cores.
        conductor: Chains.
        dependencies: Tokens that wait for others to end.
        deadlines: When the time of tokens is up.
        endings: Ends tokens that cannot run.
    """

    __slots__ = (
        "_assignment",
        "_conductor",
        "_deadlines",
        "_dependencies",
        "_endings",
        "_gate",
        "_ledger",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - everything that such a token touches
        self,
        gate: Gate,
        ledger: Ledger,
        assignment: Assignment,
        conductor: Conductor,
        dependencies: Dependencies,
        deadlines: Deadlines,
        endings: Endings,
    ) -> None:
        self._gate = gate
        self._ledger = ledger
        self._assignment = assignment
        self._conductor = conductor
        self._dependencies = dependencies
        self._deadlines = deadlines
        self._endings = endings

    # ---- tokens that depend on others

    def withheld(self, ticket: Ticket, dependencies: Iterable[tuple[int, int]]) -> None:
        """Take in a new token that waits for others, and gets into a lane when `released`.

        Args:
            ticket: The token.
            dependencies: The numbers of the others, which have not ended, each with its place among
                the token's dependencies.
        """
        entered = self._gate.withhold(ticket)
        self._ledger.submitted += entered
        if entered:
            self._dependencies.add_dependent(ticket, dependencies)
            self._deadlines.add_deadlines_of([ticket])
            if leads_chain(ticket):
                self._conductor.open_chain(ticket.number)

    def take_ended(self) -> list[tuple[Ticket, list[tuple[Ticket, int]]]]:
        """Take the tokens that others depend on and that have ended since the last time.

        Returns:
            Each with its dependents, and as which of their dependencies. (Some may have ended.)
        """
        return self._dependencies.take_ended() if self._dependencies.ended else []

    def supplied(self, ticket: Ticket) -> bool:
        """Count a dependency of a withheld token as met; True if that was the last."""
        return self._dependencies.supply(ticket)

    def released(
        self, ticket: Ticket, key: bytes | None, keep: int, now: int, home: int = 0
    ) -> None:
        """Let a withheld token, whose dependencies are met, into its lane.

        Args:
            ticket: The token.
            key: Its key, if it goes where others of that key are (see `Scheduler.anchored`).
            keep: For how long that stays pinned, ns.
            now: The time, ns.
            home: The core that made the largest of the values it depends on; 0: none to speak of.
                The token goes there if nothing else decides where, and no core is idle for it.
        """
        self._dependencies.forget_dependent(ticket)
        if key is not None:
            self._gate.sticky.expire_pins(now)
        if self._conductor.members and self._conductor.hold(ticket):
            del self._gate.withheld[ticket.number]
        else:
            self._gate.release_withheld(ticket, key, keep)
            if home and key is None:
                self._assignment.place_at_home(ticket, home, now)

    def failed(self, ticket: Ticket) -> None:
        """End a withheld token as FAILED that cannot run."""
        self._endings.fail_withheld(ticket)

    # ---- members of chains

    def joined(self, ticket: Ticket, lead: int, seat: int, now: int) -> None:
        """Take in a token that was made in the chain of a lead, and is on its core already.

        Args:
            ticket: The token.
            lead: The lead's number.
            seat: The seat of the process that made it.
            now: The time, ns.
        """
        self._ledger.submitted += 1
        self._conductor.join_chain(ticket.number, lead, self._ledger[seat].core)
        if leads_chain(ticket):
            self._conductor.open_chain(ticket.number)
        self._assignment.place_member(ticket, seat, now)
        self._deadlines.add_deadlines_of([ticket])

    def enlisted(self, number: int, lead: int, core: int) -> None:
        """Count a token that will be withheld as made in the chain of a lead, on its core."""
        self._conductor.join_chain(number, lead, core)
