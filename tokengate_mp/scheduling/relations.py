"""What is said of tokens that belong to others: that need them first, or that they were made by.

These are facts like those of `scheduler`, and stand apart because they are about more than one
token.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.state import SchedulerState


def leads(ticket: Ticket) -> bool:
    """Whether a token is the lead of a chain."""
    policy = ticket.operation.policy
    return policy is not None and policy.lead is not None


class Relations(SchedulerState):
    """Everything that is known of the tokens, and what is said of their belonging together."""

    def withheld(self, ticket: Ticket, needs: Iterable[tuple[int, int]]) -> None:
        """A new token waits for others, and gets into a lane when it is `released`.

        Args:
            ticket: The token.
            needs: The numbers of the others, which have not ended, each with which of the token's
                needs it is.
        """
        entered = self._gate.withhold(ticket)
        self._ledger.submitted += entered
        if entered:
            self._dependencies.add(ticket, needs)
            if self._timed:
                self._time([ticket])
            if leads(ticket):
                self._conductor.open(ticket.number)

    def take_ended(self) -> list[tuple[Ticket, list[tuple[Ticket, int]]]]:
        """Tokens that others wait for and that have ended since the last time.

        Returns:
            Each with those that wait for it, and as which of their needs. (Some may have ended.)
        """
        return self._dependencies.take_ended() if self._dependencies.ended else []

    def supplied(self, ticket: Ticket) -> bool:
        """A token that is withheld got one of its needs; whether it has all of them now."""
        return self._dependencies.supplied(ticket)

    def released(
        self, ticket: Ticket, key: bytes | None, keep: int, now: int, home: int = 0
    ) -> None:
        """A token that was withheld has all that it needs.

        Args:
            ticket: The token.
            key: Its key, if it goes where others of that key are (see `anchored`).
            keep: For how long that stays pinned, ns.
            now: The time.
            home: The core that made the largest of what it needs; 0: none to speak of. It goes
                there if nothing else decides where, and no core is idle for it.
        """
        self._dependencies.lacking.pop(ticket.number, None)
        if key is not None:
            self._gate.sticky.expire(now)
        if self._conductor.members and self._conductor.hold(ticket):
            del self._gate.withheld[ticket.number]
        else:
            self._gate.release(ticket, key, keep)
            if home and key is None and not self.paused and self._router.goes_home(ticket, home):
                self._router.place(ticket, self._ledger[home], now)
                self._homeward.setdefault(home, []).append(ticket)

    def failed(self, ticket: Ticket) -> None:
        """A token that is withheld cannot run."""
        self._gate.discard(ticket)
        self._dependencies.lacking.pop(ticket.number, None)
        self._fail([ticket])

    def joined(self, ticket: Ticket, lead: int, core: int, now: int) -> None:
        """A token was made in the chain of this lead, and is on the chain's core already."""
        self._ledger.submitted += 1
        self._conductor.join(ticket.number, lead, self._ledger[core].core)
        if leads(ticket):
            self._conductor.open(ticket.number)
        self._router.place(ticket, self._ledger[core], now)
        if self._timed:
            self._time([ticket])

    def enlisted(self, number: int, lead: int, core: int) -> None:
        """A token that is about to be withheld was made in the chain of this lead, on its core."""
        self._conductor.join(number, lead, core)
