"""The crew: the threads of a core process, and who may take mail.

The threads are leader and followers on one mailbox: whoever is free takes the next token itself, so
on the hot path nothing is handed from thread to thread. Since Python runs one thread at a time,
there is one *place*, and only its holder takes tokens and runs them. CPU-bound tokens
therefore run one after the other, in one thread, without fighting over the GIL. The place changes
hands when its holder would leave the core idle:

- before it runs a token of a function that is known to block (for a disk, a network, a sleep);
- when the watchdog finds that the holder is stuck in a token while the CPU time of the process
stands
  still, though it could have had some (see `starvation`), and mail waits. The watchdog then takes
  the
  place away; the thread that lost it finds out when its token ends, delivers the outcome, and
  queues up for a place again.

So as many tokens overlap as block, up to the number of threads, and no two compute at once.

Exact accounting. A thread writes the number of its token to its word of the status page before it
begins, and the outcome is published before the next token's number is written. So when
the process dies, whatever moment that is, the parent finds every finished outcome in the ring, and
the numbers of exactly those tokens that had begun and not finished. (When it is rung for: `bell`.)
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic_ns
from typing import TYPE_CHECKING, Final
from weakref import ref

from tokengate_mp.errors import WireError
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.doorbell import MAX_SLEEP, Doorbell, Sleeper
from tokengate_mp.wire.channel.mailbox import Arming, Mailbox, Ringing
from tokengate_mp.wire.protocol import records
from tokengate_mp.worker.crew.borrowed import Kept
from tokengate_mp.worker.crew.outgoing import Outgoing
from tokengate_mp.worker.crew.spin import Spin
from tokengate_mp.worker.crew.wake_up import COALESCE_NS, Bell
from tokengate_mp.worker.nested.unannounced import Untold
from tokengate_mp.worker.run.context import CHAIN, Chain, Here
from tokengate_mp.worker.run.functions import Functions
from tokengate_mp.worker.run.interrupts import Interrupts
from tokengate_mp.worker.run.invoke import LONG_NS, Function, run

if TYPE_CHECKING:
    from tokengate_mp.worker.nested.child_token import ChildToken
    from tokengate_mp.worker.run.cutting import Cut

DROPPED_AT_ONCE: Final = 64
"""How many numbers go in one record: the shortest ring takes them in one piece."""


class Crew:
    """The threads of one core process, on one mailbox.

    Args:
        mailbox: The mailbox.
        threads: How many threads.
        watchdog: Wakes the watchdog.

    Attributes:
        interrupts: Who may be interrupted, and who is to be.
        natives: The system's ids of those threads that have begun to serve, by slot.
        queue: Requests taken out of the ring and not begun.
        members: Requests of tokens that were made here, in chains, by number: they come when the
            queue is empty, if nobody who waits for one has taken it.
        holder: The slot that has the place, or None.
        bell: When to ring the parent.
        stopping: Set when no further token is to be begun.
        outgoing: What this process says.
        watchdog_asleep: Whether the watchdog wants to be woken when there is mail.
        made: The tokens made or referred to in this process, by number.
        dropped: The numbers of those to which nothing refers any more, and the parent is to know.
        forsaken: The same of those to which nothing refers because a token was ended that did.
        functions: What requests may call.
        chained: The chain of each token that waits here and is in one that it does not lead.
        here: What this thread is doing.
        untold: Tokens that were made here, in chains, and of which the parent does not know.
        prefix: What the ids of tokens begin with.
        kept: What is looked at in the arena.
    """

    def __init__(self, mailbox: Mailbox, threads: int, watchdog: Doorbell) -> None:
        self.threads = threads
        self.interrupts = Interrupts(threads)
        self.natives: dict[int, int] = {}
        self._watchdog = watchdog
        self.queue: deque[records.Request] = deque()
        self.members: dict[int, records.Request] = {}
        self.holder: int | None = None
        self.bell = Bell(mailbox.words)
        self.stopping = False
        self.outgoing = outgoing = Outgoing(mailbox)
        self._publish = outgoing.publish
        self.watchdog_asleep = True
        self.made: dict[int, ref[ChildToken]] = {}
        self.dropped: deque[int] = deque()
        self.forsaken: deque[int] = deque()
        self.chained: dict[int, Chain] = {}
        self.prefix = ""
        self.kept = Kept(self._publish)
        self._awaited: dict[int, ChildToken] = {}
        self._sorting = threading.Condition(threading.Lock())
        self._mail_wanted: set[int] = set()
        self._absent = 0
        self._claims = 0
        self.here = Here()
        self.functions = Functions()
        self._pieces = records.Pieces()
        self._stream = records.Stream(records.Request, checked=mailbox.checked)
        self._place = threading.Lock()
        self._holder_lock = threading.Lock()
        self._mailbox = mailbox
        self._mail_bell = mailbox.requests
        self._words = mailbox.words
        self._requests = mailbox.request_reader()
        self._mail_lock = threading.Lock()
        self._spin = Spin()
        self._for_requests = Arming(mailbox.words, page.REQUESTS_ARMED)
        self._starved = Ringing(mailbox.outcomes, mailbox.words, page.STARVED)
        self._mail = Sleeper(mailbox.requests)
        self.untold = Untold(outgoing)

    # ---- the threads

    def serve(self, slot: int) -> None:
        """The life of one crew thread; returns once `stopping` is set."""
        self.interrupts.enlist(slot)
        self.natives[slot] = threading.get_native_id()
        self.here.slot = self.here.reach = slot
        while not self.stopping:
            self._place.acquire()
            self.holder = slot
            self._hold(slot)
        self.leave(slot)

    def leave(self, slot: int) -> bool:
        """Take the place away from `slot`; False if it does not have it.

        Several threads may try at once (the watchdog, the holder): the lock says who did it.
        """
        with self._holder_lock:
            if self.holder != slot:
                return False
            self.holder = None
        self._place.release()
        return True

    def _hold(self, slot: int) -> None:  # noqa: C901, PLR0912 - in one piece, for every call counts here
        """Take and run tokens for as long as `slot` has the place."""
        queue, functions, words = self.queue, self.functions, self._words
        interrupts, made, chained = self.interrupts, self.made, self.chained
        word, untold = page.RUNNING + slot, self.kept.unannounced
        outgoing, bell = self.outgoing, self.bell
        while True:
            if not queue:
                words[word] = 0
                if not self._fetch(slot):
                    return
            try:
                request = queue.popleft()
            except IndexError:  # a thread that is losing the place took the last one
                continue
            words[word] = request.number
            function = functions[request.function]
            if function.last > LONG_NS:
                if outgoing.unrung and function.last > COALESCE_NS:
                    now = monotonic_ns()
                    then = now + function.last
                    if then > bell.due and not self._can_wait(then, function.last):
                        self.ring(now)
                if function.blocks:
                    self.leave(slot)
            if chained or function.lead is not None:
                self._enter_chain(request.number, function)
                record, finished = run(function, request, interrupts, slot)
                self._leave_chain(None)
            else:
                record, finished = run(function, request, interrupts, slot)
            if untold:
                self.kept.tell()
            with outgoing.lock:
                outgoing.write(request.number, record)
            if made and request.number in made:
                self._answered(request.number, record)
            if self.holder != slot:
                # Nobody else may be there to ring for this outcome.
                words[word] = 0
                self.ring(finished)
                return
            overdue = finished > bell.due and not self._can_wait(finished, function.last)
            if overdue or not (queue or self.members or self._requests.pending()):
                self.ring(finished)

    # ---- outcomes

    def _can_wait(self, now: int, last: int) -> bool:
        return self.bell.can_wait(now, len(self.queue) + self._requests.count(), last)

    def ring(self, now: int) -> None:
        """Wake the parent, if it sleeps."""
        if self.dropped or self.forsaken or self.kept.released:
            self.tell_dropped()
        self.bell.rung(now)
        self.outgoing.ring()

    # ---- requests

    def _fetch(self, slot: int) -> bool:
        """Fill the queue, waiting if need be; False if `slot` has lost the place meanwhile."""
        if not self._mail_lock.acquire(blocking=False):
            # A thread that waits for a token may be asleep over the mail: this one comes first.
            self._mail_wanted.add(slot)
            self._mail_bell.ring()
            self._mail_lock.acquire()
            self._mail_wanted.discard(slot)
        try:
            while not self.queue:
                if self.stopping or self.holder != slot:
                    return False
                if self.members:
                    self._queue_member()
                    continue
                if self._requests.pending():
                    self._take()
                    continue
                # Nothing is left that could still begin, wanted or not.
                if self.interrupts.unwanted and not self._awaited:
                    self.interrupts.forget()
                # About to sleep: nothing may be left for which nobody rings.
                self._wait_for_mail(MAX_SLEEP)
        finally:
            self._mail_lock.release()
            if self._awaited:
                self._notify()
        if self.watchdog_asleep:
            self.watchdog_asleep = False
            self._watchdog.ring()
        return True

    def _queue_member(self) -> None:
        """Let the oldest member be the next token; another thread may take it meanwhile."""
        try:
            self.queue.append(self.members.pop(next(iter(self.members))))
        except (StopIteration, RuntimeError, KeyError):
            pass

    def _wait_for_mail(self, seconds: float) -> None:
        """Wait until there is mail, asleep but for short spins. The mail lock is held."""
        if self.untold.members:
            self.untold.tell()
        if self.outgoing.unrung or self.dropped or self.forsaken or self.kept.released:
            self.ring(monotonic_ns())
        spin = self._spin
        if not (spin.begins() and spin.watch(self._stirred)):
            self._for_requests.arm()
            if self.outgoing.unrung:
                # Once more: the parent may have armed its bell just now, and relied on this core to
                # ring, as it had not seen yet that this one would sleep.
                self.ring(monotonic_ns())
            if not (self._requests.pending() or self.members or self.stopping):
                self._mail.sleep(seconds)
            self._for_requests.disarm()
        spin.ends()

    def _stirred(self) -> bool:
        """Whether there is mail, or another thread of this process has rung."""
        return self._requests.pending() or self._mail.was_woken()

    def _take(self) -> None:
        """Move what is in the request ring to the queue. The mail lock is held."""
        taken = self._requests.read()
        if taken is None:  # a checked ring whose bytes are not all visible yet
            return
        requests = self._stream.records(*taken)
        self._starved.ring_if_armed()
        self._spin.lone = len(requests) == 1
        plain = [request for request in requests if request.function >= 0]
        with self._sorting:
            if len(plain) == len(requests) and not self._awaited:
                self.queue.extend(plain)
            else:
                for request in requests:
                    self._receive(request)

    def _receive(self, request: records.Request) -> None:  # noqa: C901, PLR0912 - one for each kind
        number, mark, content = request.number, request.function, request.arguments
        if mark >= 0:
            waiting = self._awaited.get(number)
            if waiting is None:
                self.queue.append(request)
            else:
                waiting.request = request
                self._sorting.notify_all()
        elif isinstance(content, list):
            raise WireError(f"a request of kind {mark} carries bytes, not a list")
        elif mark == records.PART:
            self._pieces.add_piece(number, content)
        elif mark == records.JOIN:
            self._receive(records.decode_request(self._pieces.join_pieces(number, content)))
        elif mark == records.DEFINE:
            self.functions.define(number, content)
        elif mark == records.CHAINED:
            link = records.decode_link(content)
            self.chained[number] = Chain(link.lead, link.seed)
            self._receive(records.decode_request(link.request))
        elif mark == records.ANSWER:
            known = self.made.get(number)
            token = None if known is None else known()
            if token is not None:
                token.arrive(content, here=False)
                self._sorting.notify_all()
        elif mark == records.HINT:
            hinted = self._awaited.get(number)
            if hinted is not None:
                hinted.hint = records.decode_needs(content)
                self._sorting.notify_all()
        elif mark == records.FORGET:
            self.functions.forget(number)
        elif mark == records.FREE:
            self.kept.free(content)
        else:
            raise WireError(f"there is no request of kind {mark}")

    # ---- for threads that wait for tokens (see `waiting`)

    def tell_dropped(self) -> None:
        """Tell the parent to which tokens and blocks nothing refers any more."""
        if self.untold.members:
            self.untold.tell()
        self.kept.tell()  # first: what came with a token may outlive it
        for forsaken, dropped in enumerate((self.dropped, self.forsaken)):
            while dropped:
                numbers: list[int] = []
                try:
                    numbers.extend(dropped.popleft() for _ in range(DROPPED_AT_ONCE))
                except IndexError:  # that was the last one
                    pass
                # What was made later may need what was made before, and goes first.
                numbers.sort(reverse=True)
                self._publish(0, records.encode((0, records.DROP, forsaken, 0, numbers)))

    def tell_cut(self, cuts: list[Cut]) -> None:
        """Tell the parent at once what is left of batches: other cores may have nothing to do."""
        for cut in cuts:
            self._publish(cut.token, records.encode((cut.token, records.CUT, 0, 0, cut.items)))
        self.ring(monotonic_ns())

    def _notify(self) -> None:
        with self._sorting:
            self._sorting.notify_all()

    def _answered(self, number: int, record: bytes, here: int = 0) -> None:
        """A token that is known here was run here, by so many of the threads that wait for it."""
        known = self.made.get(number)
        token = None if known is None else known()
        if token is None:
            return
        token.arrive(record, here=True)
        if token.waiters > here:
            self._notify()
            self._mail_bell.ring()  # one that waits for it may be asleep over the mail

    def _enter_chain(self, number: int, function: Function) -> None:
        """What this thread makes from now on is made in the chain of a token, which begins."""
        if number in self.untold.members:
            self.untold.tell()
        chain = self.chained.pop(number, None)
        if function.lead is not None:
            chain = Chain(number, function.lead.seed(f"{self.prefix}-{number}"))
        CHAIN.set(chain)

    def abandon(self) -> None:
        """In a fork of this process: what the function in it comes to is nobody's (see `fork`)."""
        self.outgoing.abandon()

    def _leave_chain(self, outer: Chain | None) -> None:
        """The token has returned: what it has made is known before its outcome is."""
        CHAIN.set(outer)
        if self.untold.members:
            self.untold.tell()

    def stop(self) -> None:
        """Begin no further token; threads that wait for mail return from `serve`."""
        self.stopping = True
        self.queue.clear()
        self.members.clear()
        self._mail_bell.ring()

    def running(self) -> list[int]:
        """The tokens that threads are running."""
        return self._mailbox.running_tokens()

    def has_mail(self) -> bool:
        """Whether a token waits that a free thread could begin."""
        return bool(self.queue or self.members) or self._requests.pending()
