"""One core domain, as the parent handles it: whichever process serves the core at the moment.

It moves records in and out and decides nothing. Sending never blocks: what the request ring has no
room for waits in `_outbox`, in order, until the core has read on and rings.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from time import monotonic_ns

from tokengate_mp.cores.launch import Launched
from tokengate_mp.cores.leases import Leases
from tokengate_mp.cores.output import Listener
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.tokens.nested import NestedToken
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.mailbox import Arming, Ringing
from tokengate_mp.wire.protocol.control import LEAVE, RECALL, STOP, end_message
from tokengate_mp.wire.protocol.records import (
    ANSWER,
    DEFINE,
    FORGET,
    FREE,
    HINT,
    JOIN,
    PART,
    Outcome,
    Pieces,
    Stream,
    encode,
    split,
)


class Incarnation:
    """One process of a core, and this process's side of its mailbox.

    Attributes:
        core: The core's number.
        launched: The process and what connects it.
        listener: Hears what it prints and logs.
        arrived: Outcomes that were read and not settled yet.
        pieces: Outcomes that have arrived in part.
        ready: Whether it was seen to take requests.
        hunger: How often it was seen to be hungry (see `wire.channel.mailbox`).
        begun: Tokens that its threads have begun on top of others, and not answered for, each with
            the one that it is on top of, or 0.
        on_top: The same the other way round.
        kept: Tokens made inside tokens to which the process still refers.
        kept_again: How often more than once, for those of them that it has said so of.
        enrolled: What calls of its enrolments count as.
        carried: The tokens that outcomes still to come will refer to, by the outcome's token.
        gone: Whether the process has ended.
        condemned: Why it was ended, if the coordinator did that.
        made: When it was started, monotonic ns.
        seat: Under which the scheduler accounts for it (see `scheduling.cores.handover`); 0 as
        long as it
            has not taken over.
        shared: Whether another process of its core is at work beside it.
        fruitful: Whether it had answered for a token before it ended, or was ended for the sake of
            one that would not end: no sign of a fault.
        leases: What it may look at in the arena.
    """

    def __init__(
        self, core: int, launched: Launched, listener: Listener, leases: Leases | None = None
    ) -> None:
        self.core = core
        self.launched = launched
        self.listener = listener
        self.arrived: list[Outcome] = []
        self.pieces = Pieces()
        self.ready = False
        self.hunger = 0
        self.begun: dict[int, int] = {}
        self.on_top: dict[int, int] = {}
        self.kept: dict[int, NestedToken] = {}
        self.kept_again: Counter[int] = Counter()
        self.enrolled: dict[int, Operation] = {}
        self.carried: dict[int, list[NestedToken]] = {}
        self.gone = False
        self.leases = Leases(None, None) if leases is None else leases
        self.condemned = ""
        self.made = monotonic_ns()
        self.seat = 0
        self.shared = False
        self.fruitful = False
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
        self._send_one(index, encode((index, DEFINE, definition)))

    def forget(self, index: int) -> None:
        """Let the process drop a function."""
        self._send_one(index, encode((index, FORGET, b"")))

    def free(self, offsets: list[int]) -> None:
        """Results of the process, in its region, are needed no more."""
        self._send_one(0, encode((0, FREE, encode(offsets))))

    def answer(self, number: int, outcome: bytes) -> None:
        """Send the outcome of a token that was made in this process, or is referred to there."""
        self._send_one(number, encode((number, ANSWER, outcome)))

    def hint(self, number: int, needs: list[tuple[int, str]]) -> None:
        """Tell a thread that waits for a token which others that one needs first."""
        self._send_one(number, encode((number, HINT, encode(needs))))

    def send(self, numbers: Iterable[int], records: list[bytes]) -> None:
        """Send encoded requests, in order.

        Args:
            numbers: Their tokens' numbers.
            records: The requests.
        """
        stream = b"".join(records)
        whole = len(stream) <= self._writer.part_limit and not self._outbox
        if not (whole and self._writer.append_records(stream, len(records))):
            self._outbox.extend(_frames(numbers, records, self._writer.part_limit))
            self.flush()
        self._requests.ring_if_armed()

    def _send_one(self, number: int, record: bytes) -> None:
        self._outbox.extend(_frames([number], [record], self._writer.part_limit))
        self.flush()
        self._requests.ring_if_armed()

    def flush(self) -> None:
        """Write what waits for room, as far as there is any."""
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

    @property
    def congested(self) -> bool:
        """Whether something waits for room."""
        return bool(self._outbox)

    # ---- outcomes

    def fileno(self) -> int:
        """What becomes readable when the process has news."""
        return self._mailbox.outcomes.fd

    def hear(self) -> None:
        """The bell was heard."""
        self._mailbox.outcomes.silence()
        self._for_outcomes.disarm()

    def arm(self) -> bool:
        """Ask for the bell when there is news; False if there is some already."""
        if not self._for_outcomes.armed:
            self._for_outcomes.arm()
        return not (self._reader.pending() or self.arrived or self._asks())

    def will_ring(self, held: int) -> bool:
        """Whether the news that is there need not be looked at before the core rings.

        Outcomes need not while the core has more tokens than those to answer for, since it rings
        when it comes to its next pause; unless it has come to that already. (A parent that looked
        all the same would find an outcome or two at every look, and be busy with looking.)

        Args:
            held: How many tokens the core has to answer for.
        """
        if self.arrived or self._asks() or self._words[page.REQUESTS_ARMED]:
            return False  # (armed: what it has to answer for are tokens that block)
        return self._reader.count() < held

    def _asks(self) -> bool:
        words = self._words
        return bool(words[page.HUNGRY] != self.hunger or words[page.CALLED] != self._called)

    def has_news(self) -> bool:
        """Whether it has published outcomes that were not taken up."""
        return self._reader.pending()

    def collect(self) -> None:
        """Add what has come in to `arrived`.

        Raises:
            WireError: The process wrote something that is not an outcome.
        """
        self._called = self._words[page.CALLED]  # first: a later one is in the ring later
        taken = self._reader.read()
        if taken is not None:
            self._words[page.LOOKED] = monotonic_ns()
            self._room.ring_if_armed()
            self.arrived += self._stream.records(*taken)
            if self._words[page.OUTPUT_COUNT] != self._spoken:
                # What was said before these outcomes is heard before they are settled, for some ms.
                self._spoken = self._words[page.OUTPUT_COUNT]
                self.listener.hear()

    def is_ready(self) -> bool:
        """Whether the process takes requests by now."""
        return bool(self._words[page.READY])

    def is_hungry(self) -> bool:
        """Whether, since the last look, its crew had threads free beside blocked tokens."""
        before, self.hunger = self.hunger, self._words[page.HUNGRY]
        return before != self.hunger

    def running(self) -> list[int]:
        """The tokens that its crew runs now."""
        return (
            [*self._mailbox.running_tokens(), *self.begun]
            if self.begun
            else self._mailbox.running_tokens()
        )

    def runs(self, number: int) -> bool:
        """Whether its crew runs that token now."""
        return number in self.begun or number in self._mailbox.running_tokens()

    def begin(self, number: int, below: int) -> None:
        """A thread has begun a token on top of another one, or of 0."""
        self.begun[number] = below
        if below:
            self.on_top[below] = number

    def done_with(self, numbers: Iterable[int]) -> None:
        """It has answered for these tokens."""
        for number in numbers:
            below = self.begun.pop(number, 0)
            if self.on_top.get(below) == number:  # the next one may have begun by now
                del self.on_top[below]

    def waits(self) -> bool:
        """Whether every one of its crew threads waits for a token."""
        return bool(self._words[page.WAITS])

    # ---- control

    def recall(self) -> None:
        """Ask for everything back that it has not begun."""
        self._control(RECALL)

    def end(self, number: int) -> None:
        """Have a token interrupted, or not begun."""
        self._control(end_message(number))

    def last_words(self) -> bytes:
        """What the process said before it ended, in the control socket; empty for nothing."""
        try:
            return self.launched.control.recv(1 << 20)
        except OSError:
            return b""

    def tell_to_leave(self) -> None:
        """Tell it to end as an interpreter does; no token is running."""
        self._control(LEAVE)

    def tell_to_stop(self) -> None:
        """Tell it to end."""
        self._control(STOP)

    def _control(self, message: bytes) -> None:
        try:
            self.launched.control.send(message)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass  # it is gone, or has a thousand such messages unread: its exit is noticed apart

    def close(self) -> None:
        """Give up everything shared with the process; it must have ended."""
        self.launched.close()
        self.leases.close()


def _frames(
    numbers: Iterable[int], records: Iterable[bytes], limit: int
) -> Iterator[tuple[bytes, int]]:
    """Requests as portions for the ring, each of so many bytes and so many records."""
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
