"""The crew: the threads of a core process, and who may take mail.

The threads are leader and followers on one mailbox: whoever is free takes the next token itself, so
on the hot path nothing is handed from thread to thread. Since Python runs one thread at a time,
there is one *place*, and only its holder takes tokens and runs them. CPU-bound tokens
therefore run one after the other, in one thread, without fighting over the GIL. The place changes
hands when its holder would leave the core idle:

- before it runs a token of a function that is known to block (for a disk, a network, a sleep);
- when the scout finds that the holder is stuck in a token while the CPU time of the process stands
  still, and mail waits. The scout then takes the place away; the thread that lost it finds
  out when its token ends, delivers the outcome, and queues up for a place again.

So as many tokens overlap as block, up to the number of threads, and no two compute at once.

Exact accounting. A thread writes the number of its token to its word of the status page before it
begins, and the outcome is published before the next token's number is written. So when
the process dies, whatever moment that is, the parent finds every finished outcome in the ring, and
the numbers of exactly those tokens that had begun and not finished.

Ringing the parent for every outcome would cost more than a short token does. Outcomes are published
at once, but the bell rings only when nothing is left to run, when `COALESCE_NS` have passed, or
when the next token is one that may take longer. Should such a guess be wrong, the scout rings.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic_ns
from typing import Final

from tokengate_mp.errors import WireError
from tokengate_mp.wire import mailbox as page
from tokengate_mp.wire import records
from tokengate_mp.wire.doorbell import Doorbell, Sleeper
from tokengate_mp.wire.mailbox import Arming, Mailbox, Ringing
from tokengate_mp.worker.interrupts import Interrupts
from tokengate_mp.worker.invoke import LONG_NS, Function, run

COALESCE_NS: Final = 4_000_000
"""How long outcomes may wait for the bell while the crew goes on running short tokens, ns."""


class Crew:
    """The threads of one core process, on one mailbox.

    Args:
        mailbox: The mailbox.
        threads: How many threads.
        scout: Wakes the scout.

    Attributes:
        interrupts: Who may be interrupted, and who is to be.
        queue: Requests taken out of the ring and not begun.
        holder: The slot that has the place, or None.
        stopping: Set when no further token is to be begun.
        published: Outcomes so far.
        unrung: Whether outcomes were published since the parent's bell was last rung.
        scout_asleep: Whether the scout wants to be woken when there is mail.
    """

    def __init__(self, mailbox: Mailbox, threads: int, scout: Doorbell) -> None:
        self.threads = threads
        self.interrupts = Interrupts(threads)
        self._scout = scout
        self.queue: deque[records.Request] = deque()
        self.holder: int | None = None
        self.stopping = False
        self.published = 0
        self.unrung = False
        self.scout_asleep = True
        self._functions: dict[int, Function] = {}
        self._pieces = records.Pieces()
        self._stream = records.Stream(records.Request, checked=mailbox.checked)
        self._place = threading.Lock()
        self._holder_lock = threading.Lock()
        self._mailbox = mailbox
        self._mail_bell = mailbox.requests
        self._words = mailbox.words
        self._requests = mailbox.request_reader()
        self._outcomes = mailbox.outcome_writer()
        self._mail_lock = threading.Lock()
        self._outcome_lock = threading.Lock()
        self._for_requests = Arming(mailbox.words, page.REQUESTS_ARMED)
        self._for_room = Arming(mailbox.words, page.ROOM_ARMED)
        self._parent = Ringing(mailbox.outcomes, mailbox.words, page.OUTCOMES_ARMED)
        self._starved = Ringing(mailbox.outcomes, mailbox.words, page.STARVED)
        self._mail = Sleeper(mailbox.requests)
        self._room = Sleeper(mailbox.room)
        self._last_ring = 0

    # ---- the threads

    def serve(self, slot: int) -> None:
        """The life of one crew thread; returns once `stopping` is set."""
        self.interrupts.enlist(slot)
        while not self.stopping:
            self._place.acquire()
            self.holder = slot
            self._hold(slot)
        self.leave(slot)

    def leave(self, slot: int) -> bool:
        """Take the place away from `slot`; False if it does not have it.

        Several threads may try at once (the scout, the holder): the lock says who did it.
        """
        with self._holder_lock:
            if self.holder != slot:
                return False
            self.holder = None
        self._place.release()
        return True

    def _hold(self, slot: int) -> None:
        """Take and run tokens for as long as `slot` has the place."""
        queue, functions, words = self.queue, self._functions, self._words
        interrupts = self.interrupts
        word = page.RUNNING + slot
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
                if self.unrung and function.last > COALESCE_NS:
                    self.ring(monotonic_ns())
                if function.blocks:
                    self.leave(slot)
            record, finished = run(function, request, interrupts, slot)
            self._publish(request.number, record)
            if self.holder != slot:
                # Nobody else may be there to ring for this outcome.
                words[word] = 0
                self.ring(finished)
                return
            overdue = finished - self._last_ring > COALESCE_NS
            if overdue or not (queue or self._requests.pending()):
                self.ring(finished)

    # ---- outcomes

    def _publish(self, number: int, record: bytes) -> None:
        writer = self._outcomes
        with self._outcome_lock:
            if len(record) <= writer.part_limit:
                if not writer.write(record, 1):
                    self._write_when_there_is_room(record)
            else:
                for piece in records.split(
                    number, record, writer.part_limit, records.OUTCOME_PART, records.OUTCOME_JOIN
                ):
                    if not writer.write(piece, 1):
                        self._write_when_there_is_room(piece)
            self.published += 1
            self.unrung = True

    def _write_when_there_is_room(self, record: bytes) -> None:
        """Wait for the parent to read, and write. The other threads wait meanwhile, on the lock."""
        while True:
            self._parent.ring_if_armed()
            self._for_room.arm()
            if self._outcomes.write(record, 1):
                self._for_room.disarm()
                return
            self._room.sleep()

    def ring(self, now: int) -> None:
        """Wake the parent, if it sleeps."""
        self.unrung = False
        self._last_ring = now
        self._parent.ring_if_armed()

    # ---- requests

    def _fetch(self, slot: int) -> bool:
        """Fill the queue, waiting if need be; False if `slot` has lost the place meanwhile."""
        with self._mail_lock:
            while not self.queue:
                if self.stopping or self.holder != slot:
                    return False
                if self._requests.pending():
                    self._take()
                    continue
                # Nothing is left that could still begin, wanted or not.
                self.interrupts.unwanted.clear()
                # About to sleep: nothing may be left for which nobody rings.
                if self.unrung:
                    self.ring(monotonic_ns())
                self._for_requests.arm()
                if not self._requests.pending() and not self.stopping:
                    self._mail.sleep()
                self._for_requests.disarm()
        if self.scout_asleep:
            self.scout_asleep = False
            self._scout.ring()
        return True

    def _take(self) -> None:
        """Move what is in the request ring to the queue. The mail lock is held."""
        taken = self._requests.read()
        if taken is None:  # a checked ring whose bytes are not all visible yet
            return
        requests = self._stream.records(*taken)
        self._starved.ring_if_armed()
        plain = [request for request in requests if request.function >= 0]
        if len(plain) == len(requests):
            self.queue.extend(plain)
        else:
            for request in requests:
                self._receive(request)

    def _receive(self, request: records.Request) -> None:
        number, mark, content = request.number, request.function, request.arguments
        if mark >= 0:
            self.queue.append(request)
        elif isinstance(content, list):
            raise WireError(f"a request of kind {mark} carries bytes, not a list")
        elif mark == records.PART:
            self._pieces.add(number, content)
        elif mark == records.JOIN:
            self._receive(records.decode_request(self._pieces.join(number, content)))
        elif mark == records.DEFINE:
            self._functions[number] = Function(content)
        elif mark == records.FORGET:
            self._functions.pop(number, None)
        else:
            raise WireError(f"there is no request of kind {mark}")

    def stop(self) -> None:
        """Begin no further token; threads that wait for mail return from `serve`."""
        self.stopping = True
        self.queue.clear()
        self._mail_bell.ring()

    def running(self) -> list[int]:
        """The tokens that threads are running."""
        return self._mailbox.running()

    def has_mail(self) -> bool:
        """Whether a token waits that a free thread could begin."""
        return bool(self.queue) or self._requests.pending()

    def give_back(self) -> None:
        """Return to the parent every token that no thread has begun."""
        if not self._mail_lock.acquire(timeout=0.1):
            return  # its holder waits for mail, so there is nothing to give back
        try:
            self._take()
        finally:
            self._mail_lock.release()
        while True:
            try:
                request = self.queue.popleft()
            except IndexError:
                break
            number = request.number
            self._publish(number, records.encode((number, records.GIVEN_BACK, 0, 0, None)))
        self.ring(monotonic_ns())
