"""The crew: the threads of a core process, and which of them takes tokens.

The threads are leader and followers on one mailbox: whoever is free takes the next token itself, so
on the hot path nothing is handed from thread to thread. Since Python runs one thread at a time,
there is one *run slot*, and only its holder takes tokens and runs them. CPU-bound tokens therefore
run one after the other, in one thread, without fighting over the GIL. The run slot changes hands
when its holder would leave the core idle:

- before it runs a token of a function that is known to block (for a disk, a network, a sleep);
- when the watchdog finds that the holder is stuck in a token while the CPU time of the process
  stands still, though it could have had some (see `starvation`), and mail waits. The watchdog then
  takes the run slot away; the thread that lost it finds out when its token ends, delivers the
  outcome, and queues up for the run slot again.

So as many tokens overlap as block, up to the number of threads, and no two compute at once.
(Exclusive tokens run alone, in the main thread: `exclusion`.)

Each token has a context of its own, a copy of the one that the initializer left.

Exact accounting. A thread writes the number of its token to its word of the status page before it
begins, and the outcome is published before the next token's number is written. So when the process
dies, whatever moment that is, the parent finds every finished outcome in the ring, and the numbers
of exactly those tokens that had begun and not finished. (When it is rung for: `wake_up`.)
"""

from __future__ import annotations

import threading
from time import monotonic_ns

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.doorbell import MAX_SLEEP, Doorbell
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.protocol.records import GIVEN_BACK, Request, encode
from tokengate_mp.worker.crew.backlog import Backlog
from tokengate_mp.worker.crew.borrowed import Borrowed
from tokengate_mp.worker.crew.chains import Chains
from tokengate_mp.worker.crew.exclusion import Exclusion
from tokengate_mp.worker.crew.inbox import Inbox
from tokengate_mp.worker.crew.known_tokens import KnownTokens
from tokengate_mp.worker.crew.outgoing import Outgoing
from tokengate_mp.worker.crew.reporter import Reporter
from tokengate_mp.worker.crew.run_slot import MAIN, RunSlot
from tokengate_mp.worker.crew.unannounced import Unannounced
from tokengate_mp.worker.crew.wake_up import COALESCE_NS
from tokengate_mp.worker.crew.watchdog_bell import WatchdogBell
from tokengate_mp.worker.run.base_context import BaseContext
from tokengate_mp.worker.run.function import Function
from tokengate_mp.worker.run.functions import Functions
from tokengate_mp.worker.run.interrupts import Interrupts
from tokengate_mp.worker.run.invoke import LONG_NS, run
from tokengate_mp.worker.run.this_thread import ThisThread


class Crew:
    """The threads of one core process, on one mailbox.

    Args:
        mailbox: The mailbox.
        threads: How many threads.
        watchdog: Wakes the watchdog.
        prefix: The beginning of the ids of tokens.

    The context of the thread that makes it is the one that tokens begin with a copy of.

    Attributes:
        mailbox: The mailbox.
        threads: How many threads.
        natives: The system's ids of the threads that have begun to serve, by slot.
        here: The state of the calling thread.
        interrupts: Which tokens can be interrupted, and which are to be.
        functions: The functions that requests call.
        run_slot: Which thread takes and runs tokens.
        exclusion: When exclusive tokens may begin.
        contexts: The context that tokens begin with.
        inbox: The request ring.
        backlog: Requests taken out of it and not begun.
        outgoing: The outcome ring.
        reporter: Reports to the parent besides outcomes, and rings.
        known: The tokens that this process refers to.
        unannounced: Members of chains that the parent does not know of.
        chains: The chains of tokens.
        borrowed: The blocks of the arena that this process reads.
        watchdog_bell: Wakes the watchdog.
    """

    def __init__(
        self, mailbox: Mailbox, threads: int, watchdog: Doorbell, prefix: str = ""
    ) -> None:
        self.mailbox = mailbox
        self.threads = threads
        self.natives: dict[int, int] = {}
        self.interrupts = Interrupts(threads)
        self.here = ThisThread(self.interrupts)
        self.functions = Functions()
        self.contexts = BaseContext()
        self.run_slot = RunSlot()
        self.run_slot.reserve()  # the main thread is the first to have it: it can run all tokens
        self.outgoing = outgoing = Outgoing(mailbox)
        self.known = KnownTokens()
        self.unannounced = Unannounced(outgoing)
        self.chains = Chains(self.unannounced, prefix)
        self.borrowed = Borrowed(outgoing.publish_record)
        self.reporter = Reporter(mailbox, outgoing, self.known, self.unannounced, self.borrowed)
        self.backlog = Backlog(
            mailbox.requests, self.functions, self.known, self.chains, self.borrowed
        )
        self.exclusion = Exclusion(mailbox.words, threads, self.run_slot, self.backlog)
        self._recalls_heeded = 0
        self.watchdog_bell = WatchdogBell(watchdog)
        self.inbox = Inbox(
            mailbox,
            self.backlog,
            self.run_slot,
            outgoing,
            self.reporter,
            self.interrupts,
            self.watchdog_bell,
        )

    def serve(self, slot: int) -> None:
        """Run tokens in the calling thread; returns once no further token is to be begun.

        Args:
            slot: The slot of the calling thread.
        """
        self.interrupts.enlist_thread(slot)
        self.natives[slot] = threading.get_native_id()
        self.here.slot = self.here.reach = slot
        while not self.inbox.stopped:
            self.run_slot.await_turn(slot)
            self._run_tokens(slot)
        if slot == MAIN:
            self.run_slot.keep_no_more()
        self.run_slot.vacate(slot)

    def _run_tokens(self, slot: int) -> None:  # noqa: C901, PLR0912 - in one piece, for every call counts here
        """Take and run tokens for as long as the thread has the run slot."""
        backlog, inbox, run_slot = self.backlog, self.inbox, self.run_slot
        queue, members, pending = backlog.queue, backlog.members, inbox.requests.pending
        functions, words, interrupts = self.functions, self.mailbox.words, self.interrupts
        chains, known = self.chains, self.known.by_number
        joined = chains.joined
        borrowed, unannounced_blocks = self.borrowed, self.borrowed.unannounced
        word = page.RUNNING + slot
        outgoing, reporter = self.outgoing, self.reporter
        wake_up = reporter.wake_up
        begin_context = self.contexts.begin
        while True:
            if not queue:
                words[word] = 0
                if not inbox.fetch(slot):
                    return
            try:
                request = queue.popleft()
            except IndexError:  # a thread that is losing the run slot took the last one
                continue
            words[word] = request.number
            function = functions[request.function]
            # (After its number is written: the main thread reads that after it has set `kept`.)
            if function.exclusive is not run_slot.kept and not self._may_begin(
                request, function, slot
            ):
                if run_slot.holder != slot:
                    return
                continue
            if function.last > LONG_NS:
                if outgoing.unrung and function.last > COALESCE_NS:
                    now = monotonic_ns()
                    then = now + function.last
                    if then > wake_up.due and not self._can_wait(then, function.last):
                        reporter.ring_parent(now)
                if function.blocks:
                    run_slot.vacate(slot)
            if joined or function.lead is not None:
                record, finished = begin_context().run(self._run_in_chain, function, request, slot)
            else:
                record, finished = begin_context().run(run, function, request, interrupts, slot)
            if unannounced_blocks:
                borrowed.announce_blocks()
            with outgoing.lock:
                outgoing.write_record(request.number, record)
            if known and request.number in known:
                backlog.deliver_here(request.number, record)
            if run_slot.holder != slot:
                # Nobody else may be there to ring for this outcome.
                words[word] = 0
                reporter.ring_parent(finished)
                self.exclusion.tell_main()
                return
            overdue = finished > wake_up.due and not self._can_wait(finished, function.last)
            if overdue or not (queue or members or pending()):
                reporter.ring_parent(finished)

    def _may_begin(self, request: Request, function: Function, slot: int) -> bool:
        """Prepare for a token that is exclusive, where the last was not, or the other way round.

        Args:
            request: The token, which the thread has taken, and whose number it has written.
            function: Its function.
            slot: The slot of the thread.

        Returns:
            Whether the thread is to run it. If not, it was put back, or has been run, and the
            number is written no more.
        """
        run_slot = self.run_slot
        if slot == MAIN and run_slot.holder == MAIN:
            if not function.exclusive:
                run_slot.keep_no_more()
                return True
            if run_slot.keep() and not self.exclusion.has_company():
                return True
        self._put_back(request, slot)
        if slot != MAIN:
            if function.exclusive:
                run_slot.reserve()
            run_slot.vacate(slot)
            self.exclusion.tell_main()
        elif run_slot.kept:
            self._run_beside_suspended()
        return False

    def _put_back(self, request: Request, slot: int) -> None:
        """Put a request back that is not to begin yet; the parent can recall it from now on."""
        self.backlog.queue.appendleft(request)
        self.mailbox.words[page.RUNNING + slot] = 0
        if self.backlog.recalls != self._recalls_heeded:
            self.give_back()  # it may have been looked for just when it was not there

    def _run_beside_suspended(self) -> None:
        """Run the exclusive token at the head of the queue, as soon as it may begin, if it stays.

        The main thread keeps the run slot. Threads that wait for tokens may have begun theirs.
        """
        request = self.exclusion.await_quiet(MAX_SLEEP)
        if request is None:
            self.run_slot.keep_no_more()
            return
        word = page.RUNNING + MAIN
        self.mailbox.words[word] = request.number
        try:
            record = self.run_request(request, MAIN)
            self.backlog.deliver_here(request.number, record)
        finally:
            self.run_slot.keep_no_more()
            self.exclusion.end_alone()
        self.mailbox.words[word] = 0

    def run_request(self, request: Request, slot: int) -> bytes:
        """Run a token in the calling thread; returns its outcome, which is published.

        Args:
            request: The token.
            slot: The slot in which the thread can be interrupted.
        """
        function = self.functions[request.function]
        record, _ = self.contexts.begin().run(self._run_in_chain, function, request, slot)
        if self.borrowed.unannounced:
            self.borrowed.announce_blocks()
        self.outgoing.publish_record(request.number, record)
        return record

    def _run_in_chain(self, function: Function, request: Request, slot: int) -> tuple[bytes, int]:
        self.chains.enter_chain(request.number, function)
        try:
            return run(function, request, self.interrupts, slot)
        finally:
            self.chains.leave_chain()

    def give_back(self) -> None:
        """Return to the parent every token that no thread has begun, or waits for."""
        backlog = self.backlog
        self._recalls_heeded = backlog.recalls
        queue, joined = backlog.queue, self.chains.joined
        staying: list[Request] = []
        while True:
            try:
                request = queue.popleft()
            except IndexError:
                break
            number = request.number
            if number in joined or number in backlog.awaited:
                staying.append(request)
                continue
            self.outgoing.publish_record(number, encode((number, GIVEN_BACK, 0, 0, None)))
        if staying:
            queue.extend(staying)
            self.mailbox.requests.ring()
        self.run_slot.end_reservation()
        backlog.notify_waiting()

    def _can_wait(self, now: int, last: int) -> bool:
        ahead = len(self.backlog.queue) + self.inbox.requests.count()
        return self.reporter.wake_up.can_wait(now, ahead, last)
