"""A crew whose tokens make tokens: what the threads that run them need of it.

Whoever waits for a token leaves its place and is *absent*; should its crew read no mail meanwhile,
it does. What it waits for it may run itself, apart from the order in which mail is taken.
"""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.protocol import records
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.nested.unannounced import TOLD_AT_ONCE, Member
from tokengate_mp.worker.run.cutting import cut_all
from tokengate_mp.worker.run.interrupts import Shield
from tokengate_mp.worker.run.invoke import Function, run

if TYPE_CHECKING:
    from tokengate_mp.worker.nested.child_token import ChildToken


class NestingCrew(Crew):
    """A crew, and what `chain` and `waiting` do with it."""

    def say(self, number: int, record: bytes, *, urgent: bool = False, quiet: bool = False) -> None:
        """Publish something that is no outcome.

        Args:
            number: The token's number.
            record: What is said.
            urgent: Whether a thread can do nothing until the parent has read it.
            quiet: Whether the parent need not be woken for it.
        """
        if self.untold.members:
            self.untold.tell()
        self._publish(number, record)
        if urgent:
            with self._sorting:
                self._claims += 1
                self._words[page.CALLED] = self._claims
        if not quiet:
            self.outgoing.nudge()

    def shield(self) -> Shield:
        """Keeps this thread from being interrupted: see `interrupts`."""
        return Shield(self.interrupts, self.here.reach)

    def token_here(self) -> int:
        """The number of the token that this thread runs; 0 if it runs none."""
        reach: int | None = self.here.reach
        return 0 if reach is None else self.interrupts.running[reach]

    def operation_of(self, number: int) -> str | None:
        """What a token is a call of, if that is known here: it was made in this process."""
        known = self.made.get(number)
        token = None if known is None else known()
        return None if token is None else token.operation_type

    def end(self, number: int) -> None:
        """Interrupt a token, now or as soon as it begins; also one that waits for another."""
        self.interrupts.end(number)
        if self._awaited:
            self._notify()
            self._mail_bell.ring()

    def is_unwanted(self, number: int) -> bool:
        """Whether a token was ended by the parent."""
        return number in self.interrupts.unwanted

    def absent(self, slot: int) -> None:
        """The thread of this slot begins to wait."""
        self.leave(slot)
        with self._sorting:
            self._absent += 1
            self._words[page.WAITS] = int(self._absent >= self.threads)

    def present(self, slot: int) -> None:
        """The thread of this slot goes on; with the place, if nobody has it."""
        with self._sorting:
            self._absent -= 1
            self._words[page.WAITS] = 0
        if self._place.acquire(blocking=False):
            self.holder = slot

    def await_token(self, token: ChildToken) -> None:
        """A thread waits for this token: its request, should it come here, is that thread's."""
        with self._sorting:
            token.waiters += 1
            self._awaited[token.number] = token
            if token.request is None:
                token.request = self._out_of_queue(token.number)

    def _out_of_queue(self, number: int) -> records.Request | None:
        member = self.members.pop(number, None)
        if member is not None:
            return member
        while True:
            try:
                for request in self.queue:
                    if request.number == number:
                        self.queue.remove(request)
                        return request
            except (RuntimeError, ValueError, IndexError):  # another thread took one meanwhile
                continue
            return None

    def request_of(self, token: ChildToken) -> records.Request | None:
        """Take the request of a token that is awaited, if it is here."""
        with self._sorting:
            request: records.Request | None = token.request
            token.request = None
            return request

    def await_no_more(self, token: ChildToken) -> None:
        """A thread does not wait for this token any more."""
        with self._sorting:
            token.waiters -= 1
            if token.waiters:
                return
            del self._awaited[token.number]
            request, token.request = token.request, None
        if request is not None:
            self.queue.append(request)
            self._mail_bell.ring()  # whoever sleeps over the mail has something to run

    def await_change(self, token: ChildToken, seconds: float) -> None:
        """Wait while another thread reads the mail and nothing is known of a token."""
        with self._sorting:
            reading = self._mail_lock.locked() or bool(self._mail_wanted)
            if reading and not token.done() and token.request is None and not token.hint:
                self._sorting.wait(seconds)

    def read_mail(self, token: ChildToken, seconds: float) -> bool:
        """Take mail, or wait for some, in place of the crew; False if another thread does.

        Args:
            token: What this thread waits for.
            seconds: How long to wait.
        """
        if self._mail_wanted or not self._mail_lock.acquire(blocking=False):
            return False
        try:
            if self._requests.pending():
                self._take()
            elif not token.done() and token.request is None and not token.hint:
                self._wait_for_mail(seconds)
        finally:
            self._mail_lock.release()
            self._notify()
        return True

    def link(self, member: Member) -> None:
        """Take in a token that was made here, in a chain."""
        request = member.request
        number, untold = request.number, self.untold
        self.chained[number] = member.chain
        untold.members[number] = member
        self.members[number] = request
        if self.holder != self.here.slot:
            # This thread will not come to it, and one that would may be asleep over the mail. Nor
            # may it say anything more.
            untold.tell()
            self._mail_bell.ring()
            if self.watchdog_asleep:
                self._watchdog.ring()
        elif len(untold.members) >= TOLD_AT_ONCE:
            untold.tell()

    def run_at_once(
        self, token: ChildToken, request: records.Request, waiting: int, below: int
    ) -> None:
        """Run a member that waits here, on top of the token that this thread is running.

        Nothing is done if another thread has taken it out.

        Args:
            token: The token.
            request: Its request.
            waiting: The slot of this thread.
            below: The token that it is running; 0 for none.
        """
        number = request.number
        if self.members.pop(number, None) is None:
            return
        token.begun = True
        self.untold.begin(number, below)
        function = self.functions[request.function]
        # What the token below has set in its context is nothing to this one.
        record = Context().run(self._run_in_chain, function, request, waiting)
        if self.kept.unannounced:
            self.kept.tell()
        self._publish(number, record)
        token.arrive(record, here=True)
        if token.waiters:
            self._notify()
            self._mail_bell.ring()

    def run_apart(self, request: records.Request) -> None:
        """Run a token that is noted as begun, in whatever thread."""
        here, interrupts = self.here, self.interrupts
        function = self.functions[request.function]
        reach = here.reach
        own = interrupts.hire() if reach is None else reach
        here.reach = own
        try:
            record = Context().run(self._run_in_chain, function, request, own)
        finally:
            here.reach = reach
            if reach is None:
                interrupts.release(own)
        if self.kept.unannounced:
            self.kept.tell()
        self._publish(request.number, record)
        self._answered(request.number, record, here=1)

    def _run_in_chain(self, function: Function, request: records.Request, slot: int) -> bytes:
        self._enter_chain(request.number, function)
        try:
            return run(function, request, self.interrupts, slot)[0]
        finally:
            self._leave_chain(None)

    def give_back(self) -> None:
        """Return to the parent every token, and every item of a batch, that no thread has begun."""
        if self._mail_lock.acquire(timeout=0.1):  # else its holder waits, and there is no mail
            try:
                self._take()
            finally:
                self._mail_lock.release()
                if self._awaited:
                    self._notify()
        staying: list[records.Request] = []
        while True:
            try:
                request = self.queue.popleft()
            except IndexError:
                break
            number = request.number
            if number in self.chained:
                staying.append(request)
                continue
            self._publish(number, records.encode((number, records.GIVEN_BACK, 0, 0, None)))
        if staying:
            self.queue.extend(staying)
            self._mail_bell.ring()
        self.tell_cut(cut_all())
