"""Running tokens that were made inside tokens, apart from the order in which mail is taken."""

from __future__ import annotations

from tokengate_mp.wire.protocol.records import Request
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.crew.unannounced import MAX_UNANNOUNCED, Member
from tokengate_mp.worker.nested.child_token import ChildToken


class NestedRuns:
    """Takes in members of chains, and runs tokens for waiting threads.

    Args:
        crew: The crew of this process.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._here = crew.here
        self._interrupts = crew.interrupts
        self._run_slot = crew.run_slot
        self._backlog = crew.backlog
        self._members = crew.backlog.members
        self._chains = crew.chains
        self._unannounced = crew.unannounced

    def link_member(self, member: Member) -> None:
        """Take in a token that was made here, in a chain."""
        request = member.request
        number, unannounced = request.number, self._unannounced
        self._chains.joined[number] = member.chain
        unannounced.members[number] = member
        self._members[number] = request
        if self._run_slot.holder != self._here.slot:
            # This thread will not come to it, and one that would may be asleep over the mail. Nor
            # may it say anything more.
            unannounced.announce_all()
            self._crew.mailbox.requests.ring()
            if self._crew.watchdog_bell.asleep:
                self._crew.watchdog_bell.wake_watchdog()
        elif len(unannounced.members) >= MAX_UNANNOUNCED:
            unannounced.announce_all()

    def run_member(self, token: ChildToken, request: Request, slot: int, below: int) -> None:
        """Run a member that waits here, on top of the token that the calling thread is running.

        Nothing is done if another thread has taken it out.

        Args:
            token: The token.
            request: Its request.
            slot: The slot of the calling thread.
            below: The token that the thread is running; 0 for none.
        """
        number = request.number
        if self._members.pop(number, None) is None:
            return
        token.begun = True
        self._unannounced.announce_begun(number, below)
        record = self._crew.run_request(request, slot)
        token.accept_outcome(record, here=True)
        if token.waiters:
            self._backlog.wake_waiting()

    def run_apart(self, request: Request, *, awaited: bool = True) -> None:
        """Run a token that is announced as begun, in the calling thread, whichever that is.

        Args:
            request: The token.
            awaited: Whether the thread waits for it.
        """
        here, interrupts = self._here, self._interrupts
        reach = here.reach
        own = interrupts.hire_slot() if reach is None else reach
        here.reach = own
        try:
            record = self._crew.run_request(request, own)
        finally:
            here.reach = reach
            if reach is None:
                interrupts.release_slot(own)
        self._backlog.deliver_here(request.number, record, here=int(awaited))
