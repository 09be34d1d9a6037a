"""The inbox: the request ring as the threads of its core process read it.

One thread reads at a time, the one that holds the mail lock: a thread of the crew that has nothing
to run, or a thread that waits for a token while no thread of the crew reads.
"""

from __future__ import annotations

import threading
from time import monotonic_ns

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.doorbell import MAX_SLEEP, Sleeper
from tokengate_mp.wire.channel.mailbox import Arming, Mailbox, Ringing
from tokengate_mp.wire.protocol import records
from tokengate_mp.worker.crew.backlog import Backlog
from tokengate_mp.worker.crew.known_tokens import KnownToken
from tokengate_mp.worker.crew.outgoing import Outgoing
from tokengate_mp.worker.crew.reporter import Reporter
from tokengate_mp.worker.crew.run_slot import RunSlot
from tokengate_mp.worker.crew.spin import Spin
from tokengate_mp.worker.crew.watchdog_bell import WatchdogBell
from tokengate_mp.worker.run.interrupts import Interrupts


class Inbox:
    """Takes requests out of the ring into the backlog.

    Args:
        mailbox: The mailbox.
        backlog: Where requests go.
        run_slot: Which thread of the crew may run tokens.
        outgoing: The outcome ring.
        reporter: Reports to the parent before a thread sleeps.
        interrupts: Told when no token is left that could begin.
        watchdog: Rung when there is work again.

    Attributes:
        requests: The reading end of the request ring.
        stopped: Set when no further token is to be begun.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a crew that reading mail concerns
        self,
        mailbox: Mailbox,
        backlog: Backlog,
        run_slot: RunSlot,
        outgoing: Outgoing,
        reporter: Reporter,
        interrupts: Interrupts,
        watchdog: WatchdogBell,
    ) -> None:
        self.requests = mailbox.request_reader()
        self.stopped = False
        self._backlog = backlog
        self._run_slot = run_slot
        self._outgoing = outgoing
        self._reporter = reporter
        self._interrupts = interrupts
        self._watchdog = watchdog
        self._bell = mailbox.requests
        self._stream = records.Stream(records.Request, checked=mailbox.checked)
        self._mail_lock = threading.Lock()
        self._mail_wanted: set[int] = set()
        self._spin = Spin()
        self._for_requests = Arming(mailbox.words, page.REQUESTS_ARMED)
        self._starved = Ringing(mailbox.outcomes, mailbox.words, page.STARVED)
        self._sleeper = Sleeper(mailbox.requests)

    def has_mail(self) -> bool:
        """Whether a token waits that a free thread could begin."""
        backlog = self._backlog
        return bool(backlog.queue or backlog.members) or self.requests.pending()

    def fetch(self, slot: int) -> bool:
        """Fill the queue, waiting if need be; False if the thread loses the run slot meanwhile.

        Args:
            slot: The slot of the calling thread, which has the run slot.
        """
        if not self._mail_lock.acquire(blocking=False):
            # A thread that waits for a token may be asleep over the mail: this one comes first.
            self._mail_wanted.add(slot)
            self._bell.ring()
            self._mail_lock.acquire()
            self._mail_wanted.discard(slot)
        backlog = self._backlog
        try:
            while not backlog.queue:
                if self.stopped or self._run_slot.holder != slot:
                    return False
                if backlog.members:
                    backlog.queue_member()
                    continue
                if self.requests.pending():
                    self._take_mail()
                    continue
                # Nothing is left that could still begin, wanted or not.
                if self._interrupts.unwanted and not backlog.awaited:
                    self._interrupts.forget_unwanted()
                # About to sleep: nothing may be left for which nobody rings.
                self._wait_for_mail(MAX_SLEEP)
        finally:
            self._mail_lock.release()
            if backlog.awaited:
                backlog.notify_waiting()
        if self._watchdog.asleep:
            self._watchdog.asleep = False
            self._watchdog.wake_watchdog()
        return True

    def _take_mail(self) -> None:
        """Move the contents of the request ring to the backlog. The mail lock is held."""
        taken = self.requests.read()
        if taken is None:  # a checked ring whose bytes are not all visible yet
            return
        requests = self._stream.records(*taken)
        self._starved.ring_if_armed()
        self._spin.lone = len(requests) == 1
        self._backlog.sort_requests(requests)

    def _wait_for_mail(self, seconds: float) -> None:
        """Wait until there is mail, asleep but for short spins. The mail lock is held."""
        self._reporter.report_before_sleep()
        spin = self._spin
        if not (spin.begin_spin() and spin.stay_awake(self._stirred)):
            self._for_requests.arm()
            if self._outgoing.unrung:
                # Once more: the parent may have armed its bell just now, and relied on this core to
                # ring, as it had not seen yet that this one would sleep.
                self._reporter.ring_parent(monotonic_ns())
            if not (self.requests.pending() or self._backlog.members or self.stopped):
                self._sleeper.sleep(seconds)
            self._for_requests.disarm()
        spin.end_spin()

    def _stirred(self) -> bool:
        """Whether there is mail, or another thread of the process has rung."""
        return self.requests.pending() or self._sleeper.was_woken()

    # ---- for other threads

    def take_waiting_mail(self) -> None:
        """Move the contents of the request ring to the backlog; called by the control thread."""
        if self._mail_lock.acquire(timeout=0.1):  # else its holder waits, and there is no mail
            try:
                self._take_mail()
            finally:
                self._mail_lock.release()
                if self._backlog.awaited:
                    self._backlog.notify_waiting()

    def read_for(self, token: KnownToken, seconds: float) -> bool:
        """Take mail, or wait for some, in place of the crew; False if another thread does.

        Args:
            token: The token that the calling thread waits for.
            seconds: How long to wait.
        """
        if self._mail_wanted or not self._mail_lock.acquire(blocking=False):
            return False
        try:
            if self.requests.pending():
                self._take_mail()
            elif not token.has_news():
                self._wait_for_mail(seconds)
        finally:
            self._mail_lock.release()
            self._backlog.notify_waiting()
        return True

    def await_reader(self, token: KnownToken, seconds: float) -> None:
        """Wait while another thread reads the mail and nothing is known of a token.

        Args:
            token: The token that the calling thread waits for.
            seconds: How long to wait.
        """
        arrivals = self._backlog.arrivals
        with arrivals:
            reading = self._mail_lock.locked() or bool(self._mail_wanted)
            if reading and not token.has_news():
                arrivals.wait(seconds)

    def stop_reading(self) -> None:
        """Let no further token begin, and wake the thread that waits for mail."""
        self.stopped = True
        self._backlog.queue.clear()
        self._backlog.members.clear()
        self._run_slot.end_reservation()
        self._backlog.wake_waiting()
