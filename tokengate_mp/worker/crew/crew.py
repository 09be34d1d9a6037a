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

Exact accounting. A thread writes the number of its token to its word of the status page before it
begins, and the outcome is published before the next token's number is written. So when the process
dies, whatever moment that is, the parent finds every finished outcome in the ring, and the numbers
of exactly those tokens that had begun and not finished. (When it is rung for: `wake_up`.)
"""

from __future__ import annotations

import threading
from time import monotonic_ns

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.doorbell import Doorbell
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.worker.crew.backlog import Backlog
from tokengate_mp.worker.crew.borrowed import Borrowed
from tokengate_mp.worker.crew.chains import Chains
from tokengate_mp.worker.crew.inbox import Inbox
from tokengate_mp.worker.crew.known_tokens import KnownTokens
from tokengate_mp.worker.crew.outgoing import Outgoing
from tokengate_mp.worker.crew.reporter import Reporter
from tokengate_mp.worker.crew.run_slot import RunSlot
from tokengate_mp.worker.crew.unannounced import Unannounced
from tokengate_mp.worker.crew.wake_up import COALESCE_NS
from tokengate_mp.worker.crew.watchdog_bell import WatchdogBell
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

    Attributes:
        mailbox: The mailbox.
        threads: How many threads.
        natives: The system's ids of the threads that have begun to serve, by slot.
        here: The state of the calling thread.
        interrupts: Which tokens can be interrupted, and which are to be.
        functions: The functions that requests call.
        run_slot: Which thread takes and runs tokens.
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
        self.run_slot = RunSlot()
        self.outgoing = outgoing = Outgoing(mailbox)
        self.known = KnownTokens()
        self.unannounced = Unannounced(outgoing)
        self.chains = Chains(self.unannounced, prefix)
        self.borrowed = Borrowed(outgoing.publish_record)
        self.reporter = Reporter(mailbox, outgoing, self.known, self.unannounced, self.borrowed)
        self.backlog = Backlog(
            mailbox.requests, self.functions, self.known, self.chains, self.borrowed
        )
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
            if function.last > LONG_NS:
                if outgoing.unrung and function.last > COALESCE_NS:
                    now = monotonic_ns()
                    then = now + function.last
                    if then > wake_up.due and not self._can_wait(then, function.last):
                        reporter.ring_parent(now)
                if function.blocks:
                    run_slot.vacate(slot)
            if joined or function.lead is not None:
                chains.enter_chain(request.number, function)
                record, finished = run(function, request, interrupts, slot)
                chains.leave_chain()
            else:
                record, finished = run(function, request, interrupts, slot)
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
                return
            overdue = finished > wake_up.due and not self._can_wait(finished, function.last)
            if overdue or not (queue or members or pending()):
                reporter.ring_parent(finished)

    def _can_wait(self, now: int, last: int) -> bool:
        ahead = len(self.backlog.queue) + self.inbox.requests.count()
        return self.reporter.wake_up.can_wait(now, ahead, last)
