"""One process of a core, as this process handles it: the link of the port (see `ports`).

Records move in and out here, and nothing is decided. Sending never blocks: what finds no room in
the request ring waits in `_outbox`, in order, until the core has read on and rings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic_ns

from tokengate_mp.cores.inbox import Inbox
from tokengate_mp.cores.launch import Launched
from tokengate_mp.cores.leases import Leases
from tokengate_mp.cores.output import Listener
from tokengate_mp.ports import CoreFacts, Portion, Record
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.mailbox import Arming, Ringing
from tokengate_mp.wire.protocol.control import LEAVE, RECALL, STOP, end_message
from tokengate_mp.wire.protocol.records import (
    DEFINE,
    FORGET,
    FREE,
    JOIN,
    PART,
    Outcome,
    Stream,
    encode,
    split,
)


class Incarnation:
    """A process of a core, and the parent's side of its mailbox.

    Args:
        core: The number of the core.
        launched: The process and what connects it.
        listener: Hears what the process prints and logs.
        leases: What the process is lent in the arena; None for nothing.
        came_up: Called when the process is first seen to take requests.
        glance: Asks for a look at this link some time later, though its bell is not armed.

    Attributes:
        core: The number of the core.
        seat: Its seat in the ledger; 0 as long as it has not taken over.
        width: 1: a process is one core.
        launched: The process and what connects it.
        listener: Hears what the process prints and logs.
        leases: What the process is lent in the arena.
        inbox: Records that have arrived and were not taken.
        ready: Whether the process was seen to take requests.
        condemned: Why it was ended, if it was ended from here; else empty.
    """

    width = 1

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that a process is connected by
        self,
        core: int,
        launched: Launched,
        listener: Listener | None,
        leases: Leases | None = None,
        came_up: Callable[[Incarnation], object] = bool,
        glance: Callable[[], object] = bool,
    ) -> None:
        self.core = core
        self.seat = 0
        self.launched = launched
        self.listener = listener
        self.leases = Leases(None, None) if leases is None else leases
        self.inbox = Inbox(core, self.leases)
        self.ready = False
        self.condemned = ""
        self._came_up = came_up
        self._glance = glance
        self._closed = False
        self._hunger = 0  # how often it was seen to be hungry (see `wire.channel.mailbox`)
        self._called = 0
        self._spoken = 0
        mailbox = launched.mailbox
        self._mailbox = mailbox
        self._words = mailbox.words
        self._writer = mailbox.request_writer()
        self._reader = mailbox.outcome_reader()
        self._stream = Stream(Outcome, checked=mailbox.checked)
        self._requests = Ringing(mailbox.requests, mailbox.words, page.REQUESTS_ARMED)
        self._room = Ringing(mailbox.room, mailbox.words, page.ROOM_ARMED)
        self._for_outcomes = Arming(mailbox.words, page.OUTCOMES_ARMED)
        self._for_room = Arming(mailbox.words, page.STARVED)
        self._outbox: deque[tuple[bytes, int]] = deque()

    # ---- requests

    def define(self, index: int, definition: bytes) -> None:
        """Make a function known to the process."""
        self._send_record(index, encode((index, DEFINE, definition)))

    def forget(self, index: int) -> None:
        """Let the process drop a function."""
        self._send_record(index, encode((index, FORGET, b"")))

    def free_results(self, offsets: list[int]) -> None:
        """Tell the process which results in its region nobody refers to any more."""
        self._send_record(0, encode((0, FREE, encode(offsets))))

    def reply(self, number: int, record: bytes) -> None:
        """Send an encoded request about a nested token that the process refers to."""
        self._send_record(number, record)

    def send(self, tickets: Sequence[Ticket], records: Sequence[Record], *, attached: bool) -> None:
        """Send requests, in order; attachments are lent until the request is answered."""
        plain: list[bytes] = (
            self.leases.lend([ticket.number for ticket in tickets], records)
            if attached
            else records  # type: ignore[assignment]  # the caller says so
        )
        stream = b"".join(plain)
        whole = len(stream) <= self._writer.part_limit and not self._outbox
        if not (whole and self._writer.append_records(stream, len(plain))):
            numbers = [ticket.number for ticket in tickets]
            self._outbox.extend(_frames(numbers, plain, self._writer.part_limit))
            self._flush()
        self._requests.ring_if_armed()

    def _send_record(self, number: int, record: bytes) -> None:
        self._outbox.extend(_frames([number], [record], self._writer.part_limit))
        self._flush()
        self._requests.ring_if_armed()

    def _flush(self) -> None:
        """Write requests that wait for room in the ring, as far as there is any."""
        while self._outbox:
            if not self._writer.append_records(*self._outbox[0]):
                # Once more after arming: the core may have read on just before.
                self._for_room.arm()
                if not self._writer.append_records(*self._outbox[0]):
                    break
            self._outbox.popleft()
        else:
            self._for_room.disarm()
        self._requests.ring_if_armed()

    # ---- outcomes

    def fileno(self) -> int:
        """The descriptor that becomes readable when the process has news."""
        return self._mailbox.outcomes.fd

    def answer_bell(self) -> None:
        """Clear the bell, which was heard, without asking for another ring yet."""
        self._mailbox.outcomes.silence()
        self._for_outcomes.disarm()

    def may_sleep(self, held: int) -> bool:
        """Ask for the bell; False if there is news that has to be taken first.

        News need not be taken while the core has more tokens to answer for than it brings, since
        the core rings when it comes to its next pause; unless it has come to that already. (A
        parent that looked all the same would find an outcome or two at every look, and be busy with
        looking.) But that pause may be the end of a long token, so a glance is asked for.

        Args:
            held: How many tokens the core has to answer for.
        """
        if not self._for_outcomes.armed:
            self._for_outcomes.arm()
        if not (self._reader.pending() or self.inbox.arrived or self._asks()):
            return True
        if not self._will_ring(held):
            return False
        self._glance()
        return True

    def arm(self) -> None:
        """Ask for the bell when there is news."""
        if not self._for_outcomes.armed:
            self._for_outcomes.arm()

    def _will_ring(self, held: int) -> bool:
        if self.inbox.arrived or self._asks() or self._words[page.REQUESTS_ARMED]:
            return False  # (armed: what it has to answer for are tokens that block)
        return self._reader.count() < held

    def _asks(self) -> bool:
        words = self._words
        return bool(words[page.HUNGRY] != self._hunger or words[page.CALLED] != self._called)

    def has_news(self) -> bool:
        """Whether the process has published outcomes that were not read."""
        return self._reader.pending()

    def take(self) -> Portion | None:
        """Take the next portion; the ring is read when everything read before was taken.

        Raises:
            WireError: The process wrote something that makes no sense.
        """
        if not self.ready and self.is_up():
            self.ready = True
            self._came_up(self)
        inbox = self.inbox
        if not inbox.arrived:
            self._collect()
            if self._closed:  # by a handler of a log record, which stopped the coordinator
                return None
            if self._outbox:
                self._flush()
        portion = inbox.next_portion()
        if portion is not None and inbox.arrived:
            portion.more = True
        if self._words[page.HUNGRY] != self._hunger:
            self._hunger = self._words[page.HUNGRY]
            if portion is None:
                portion = Portion([], plain=True)
            portion.hungry = True
        return portion

    def _collect(self) -> None:
        """Read the ring into the inbox."""
        self._called = self._words[page.CALLED]  # first: a later one is in the ring later
        taken = self._reader.read()
        if taken is not None:
            self._words[page.LOOKED] = monotonic_ns()
            self._room.ring_if_armed()
            self.inbox.arrived += self._stream.records(*taken)
            if self._words[page.OUTPUT_COUNT] != self._spoken and self.listener is not None:
                # What was said before these outcomes is heard before they are settled, for some ms.
                self._spoken = self._words[page.OUTPUT_COUNT]
                self.listener.hear()

    def is_up(self) -> bool:
        """Whether the process takes requests by now."""
        return bool(self._words[page.READY])

    @property
    def waiting(self) -> bool:
        """Whether every crew thread waits for a token."""
        return bool(self._words[page.WAITS])

    def facts(self) -> CoreFacts:
        """The state of the process, from its status page."""
        words = self._words
        return CoreFacts(
            self.ready,
            tuple(self._mailbox.running_tokens()),
            self.waiting,
            self.launched.process.pid,
            int(words[page.OUTPUT_DROPPED]),
        )

    def unaccounted(self) -> Mapping[int, bool | None]:
        """The tokens that its crew threads have noted as begun, and not finished."""
        return dict.fromkeys(self._mailbox.running_tokens(), True)

    # ---- control

    def recall(self) -> None:
        """Ask for everything back that the process has not begun."""
        self._send_control(RECALL)

    def interrupt(self, number: int) -> None:
        """Have a token interrupted, or not begun."""
        self._send_control(end_message(number))

    def last_words(self) -> bytes:
        """The text that the process left in the control socket before its end; may be empty."""
        try:
            return self.launched.control.recv(1 << 20)
        except OSError:
            return b""

    def tell_to_leave(self) -> None:
        """Tell the process to end as an interpreter does; no token is running."""
        self._send_control(LEAVE)

    def tell_to_stop(self) -> None:
        """Tell the process to end, even in the middle of tokens."""
        self._send_control(STOP)

    def _send_control(self, message: bytes) -> None:
        try:
            self.launched.control.send(message)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass  # it is gone, or has a thousand such messages unread: its exit is noticed apart

    def distrust(self) -> None:
        """Drop the records that have arrived and were not taken."""
        self.inbox.arrived.clear()

    def close_link(self) -> None:
        """Give up everything shared with the process, which must have ended."""
        self._closed = True
        self.launched.close()
        self.leases.close_leases()


def _frames(
    numbers: Iterable[int], records: Iterable[bytes], limit: int
) -> Iterator[tuple[bytes, int]]:
    """Requests as pieces for the ring, each of so many bytes and so many records."""
    portion: list[bytes] = []
    size = 0
    for number, record in zip(numbers, records, strict=True):
        pieces = [record]
        if len(record) > limit:
            pieces = list(split(number, record, limit, PART, JOIN))
        for piece in pieces:
            if portion and size + len(piece) > limit:
                yield b"".join(portion), len(portion)
                portion, size = [], 0
            portion.append(piece)
            size += len(piece)
    if portion:
        yield b"".join(portion), len(portion)
