"""The outcome ring as its core process writes it: outcomes, and all else that it says.

The threads take turns, by a lock. Ringing the parent for every outcome would cost more than a short
token does, so writing and ringing are two things here, and the crew says when (see `wake_up`).
"""

from __future__ import annotations

import threading

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.doorbell import Sleeper
from tokengate_mp.wire.channel.mailbox import Arming, Mailbox, Ringing
from tokengate_mp.wire.channel.ring import RingWriter
from tokengate_mp.wire.protocol import records
from tokengate_mp.worker.run.fork import Nowhere


class Outgoing:
    """The outcome ring of a core process, from its own end.

    Args:
        mailbox: The mailbox.

    Attributes:
        lock: Held while a record is written.
        published: Records so far.
        unrung: Whether there may be records of which the parent does not know: it was awake when
            its bell was to be rung last, or there were some since.
    """

    __slots__ = (
        "_for_room",
        "_parent",
        "_room",
        "_writer",
        "lock",
        "published",
        "unrung",
    )

    def __init__(self, mailbox: Mailbox) -> None:
        self.lock = threading.Lock()
        self.published = 0
        self.unrung = False
        self._writer: RingWriter | Nowhere = mailbox.outcome_writer()
        self._for_room = Arming(mailbox.words, page.ROOM_ARMED)
        self._parent = Ringing(mailbox.outcomes, mailbox.words, page.OUTCOMES_ARMED)
        self._room = Sleeper(mailbox.room)

    def publish_record(self, number: int, record: bytes) -> None:
        """Write a record, taking the lock.

        Args:
            number: The number of the token that the record is about.
            record: The record, of any length.
        """
        with self.lock:
            self.write_record(number, record)

    def write_record(self, number: int, record: bytes) -> None:
        """Write a record; the calling thread holds the lock."""
        if len(record) > self._writer.part_limit:
            self._write_in_pieces(number, record)
        elif not self._writer.append_records(record, 1):
            self._write_when_there_is_room(record)
        self.published += 1
        self.unrung = True

    def _write_in_pieces(self, number: int, record: bytes) -> None:
        writer = self._writer
        for piece in records.split(
            number, record, writer.part_limit, records.OUTCOME_PART, records.OUTCOME_JOIN
        ):
            if not writer.append_records(piece, 1):
                self._write_when_there_is_room(piece)

    def _write_when_there_is_room(self, record: bytes) -> None:
        """Wait for the parent to read, and write. The other threads wait meanwhile, on the lock."""
        while True:
            self._parent.ring_if_armed()
            self._for_room.arm()
            if self._writer.append_records(record, 1):
                self._for_room.disarm()
                return
            self._room.sleep()

    def wake_parent(self) -> None:
        """Wake the parent, if asleep, for all outcomes so far."""
        self.unrung = False  # first: another thread may publish meanwhile
        if not self._parent.ring_if_armed():
            self.unrung = True

    def nudge_parent(self) -> None:
        """Wake the parent, if asleep, for something that is no outcome: outcomes may wait on."""
        self._parent.ring_if_armed()

    def cut_off_fork(self) -> None:
        """Let the next record that is written in a fork of the process end that fork."""
        self._writer = Nowhere()
        self.lock = threading.Lock()  # another thread may have held the old one
