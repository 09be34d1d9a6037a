"""What a core process reports to its parent besides outcomes, and when it rings."""

from __future__ import annotations

import threading
from time import monotonic_ns

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.protocol.records import CUT, DROP, NUMBERS_PER_RECORD, encode
from tokengate_mp.worker.crew.borrowed import Borrowed
from tokengate_mp.worker.crew.known_tokens import KnownTokens
from tokengate_mp.worker.crew.outgoing import Outgoing
from tokengate_mp.worker.crew.unannounced import Unannounced
from tokengate_mp.worker.crew.wake_up import WakeUp
from tokengate_mp.worker.run.cutting import Cut


class Reporter:
    """Reports to the parent, from any thread of the process.

    Args:
        mailbox: The mailbox.
        outgoing: The outcome ring.
        known: The tokens that this process refers to.
        unannounced: Members of chains that the parent does not know of.
        borrowed: The blocks of the arena that this process reads.

    Attributes:
        wake_up: When to ring the parent.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        outgoing: Outgoing,
        known: KnownTokens,
        unannounced: Unannounced,
        borrowed: Borrowed,
    ) -> None:
        self.wake_up = WakeUp(mailbox.words)
        self._words = mailbox.words
        self._outgoing = outgoing
        self._publish = outgoing.publish_record
        self._unannounced = unannounced
        self._borrowed = borrowed
        self._dropped = known.dropped
        self._forsaken = known.forsaken
        self._calls = 0
        self._calling = threading.Lock()

    def ring_parent(self, now: int) -> None:
        """Wake the parent, if asleep, for all that has been published.

        Args:
            now: The time, monotonic ns.
        """
        if self._dropped or self._forsaken or self._borrowed.released:
            self.report_dropped()
        self.wake_up.restart_wait(now)
        self._outgoing.wake_parent()

    def report_before_sleep(self) -> None:
        """Report all that is left to report, and ring for outcomes: the crew is about to sleep."""
        if self._unannounced.members:
            self._unannounced.announce_all()
        if self._outgoing.unrung or self._dropped or self._forsaken or self._borrowed.released:
            self.ring_parent(monotonic_ns())

    def report_dropped(self) -> None:
        """Report tokens to which nothing here refers any more, and blocks that nothing reads."""
        if self._unannounced.members:
            self._unannounced.announce_all()
        self._borrowed.announce_blocks()  # first: what came with a token may outlive it
        for forsaken, dropped in enumerate((self._dropped, self._forsaken)):
            while dropped:
                numbers: list[int] = []
                try:
                    numbers.extend(dropped.popleft() for _ in range(NUMBERS_PER_RECORD))
                except IndexError:  # that was the last one
                    pass
                # What was made later may need what was made before, and goes first.
                numbers.sort(reverse=True)
                self._publish(0, encode((0, DROP, forsaken, 0, numbers)))

    def report_cuts(self, cuts: list[Cut]) -> None:
        """Report at once the rests of batches that were cut: other cores may have nothing to do."""
        for cut in cuts:
            self._publish(cut.token, encode((cut.token, CUT, 0, 0, cut.items)))
        self.ring_parent(monotonic_ns())

    def say(self, number: int, record: bytes, *, urgent: bool = False) -> None:
        """Publish a record that is no outcome.

        Args:
            number: The number of the token that the record is about.
            record: The record.
            urgent: Whether a thread can do nothing until the parent has read it.
        """
        if self._unannounced.members:
            self._unannounced.announce_all()
        self._publish(number, record)
        if urgent:
            with self._calling:
                self._calls += 1
                self._words[page.CALLED] = self._calls
        self._outgoing.nudge_parent()
