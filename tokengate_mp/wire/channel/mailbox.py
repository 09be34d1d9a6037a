"""A mailbox: what one incarnation of one core process shares with the parent.

    segment:  | status page | request ring | outcome ring |

    bells:    requests   parent → core     there are requests
              outcomes   core → parent     there are outcomes, or room for requests, or news
              room       parent → core     there is room for outcomes

It lives exactly as long as its core process. The next process gets a new one, so that nobody ever
has to work out what a dead writer left in the middle of.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from tokengate_mp.config.limits import MAX_THREADS_PER_CORE
from tokengate_mp.errors import CoreStartError
from tokengate_mp.wire.channel import doorbell
from tokengate_mp.wire.channel.doorbell import Doorbell
from tokengate_mp.wire.channel.ordering import full_fence, must_check
from tokengate_mp.wire.channel.ring import RingReader, RingWriter
from tokengate_mp.wire.channel.segment import Segment

_WORD: Final = struct.calcsize("Q")
_LINE: Final = 128 // _WORD
"""Words in 128 bytes: a cache line on ARM64, and two that x86-64 likes to fetch together."""

# The status page. One line for each word that one process stores while the other one looks.
REQUEST_HEAD: Final = 0 * _LINE  # parent
REQUEST_TAIL: Final = 1 * _LINE  # core
OUTCOME_HEAD: Final = 2 * _LINE  # core
OUTCOME_TAIL: Final = 3 * _LINE  # parent
REQUESTS_ARMED: Final = 4 * _LINE  # core: it sleeps until there are requests
OUTCOMES_ARMED: Final = 5 * _LINE  # parent: it sleeps until there are outcomes
ROOM_ARMED: Final = 6 * _LINE  # core: it sleeps until there is room for outcomes
STARVED: Final = 7 * _LINE  # parent: it has requests for which there is no room
READY: Final = 8 * _LINE  # core: 1 when it takes requests
HUNGRY: Final = 9 * _LINE  # core: how often its crew had nothing to do beside blocked tokens
CALLED: Final = 10 * _LINE  # core: how often one of its threads has asked for a token it waits for
WAITS: Final = 11 * _LINE  # core: 1 while every crew thread waits for a token
OUTPUT_COUNT: Final = 12 * _LINE  # core: how many messages it has printed or logged
OUTPUT_DROPPED: Final = OUTPUT_COUNT + 1  # core: how many of them there was no room for
LOOKED: Final = 13 * _LINE  # parent: when it last took up outcomes, monotonic ns
RUNNING: Final = 14 * _LINE  # core: from here on, the token that each crew thread runs, or 0

_PAGE_WORDS: Final = RUNNING + MAX_THREADS_PER_CORE
PAGE_BYTES: Final = -(-_PAGE_WORDS * _WORD // 4096) * 4096


def _segment_bytes(ring_bytes: int) -> int:
    return PAGE_BYTES + 2 * ring_bytes


class MailboxAddress(msgspec.Struct, frozen=True):
    """A mailbox, for the process that inherits its descriptors.

    Attributes:
        segment: Descriptor of its memory.
        ring_bytes: Size of each of its two rings.
        requests: Descriptors of the bell for requests.
        outcomes: Descriptors of the bell for outcomes.
        room: Descriptors of the bell for room.
        checked: Whether its rings carry checksums.
    """

    segment: int
    ring_bytes: int
    requests: tuple[int, ...]
    outcomes: tuple[int, ...]
    room: tuple[int, ...]
    checked: bool

    @property
    def fds(self) -> tuple[int, ...]:
        """All its descriptors."""
        return (self.segment, *self.requests, *self.outcomes, *self.room)


class Mailbox:
    """Segment and bells, from either side.

    Attributes:
        words: The status page as unsigned 64-bit integers. (memoryview stores such an aligned
            word in one piece, where `struct` with a byte order would store byte by byte.)
        requests: Rings when there are requests.
        outcomes: Rings when there are outcomes.
        room: Rings when there is room for outcomes.
        checked: Whether the rings carry checksums.
    """

    __slots__ = (
        "_ring_bytes",
        "_rings",
        "_segment",
        "checked",
        "outcomes",
        "requests",
        "room",
        "words",
    )

    def __init__(
        self,
        segment: Segment,
        bells: tuple[Doorbell, Doorbell, Doorbell],
        ring_bytes: int,
        *,
        checked: bool,
    ) -> None:
        self._segment = segment
        self._ring_bytes = ring_bytes
        self.checked = checked
        self.requests, self.outcomes, self.room = bells
        self.words = segment.view[: _PAGE_WORDS * _WORD].cast("Q")
        rings = segment.view[PAGE_BYTES:]
        self._rings = rings[:ring_bytes], rings[ring_bytes : 2 * ring_bytes]
        rings.release()

    @classmethod
    def create(cls, ring_bytes: int) -> Mailbox:
        """Make an empty mailbox.

        Args:
            ring_bytes: Size of each of its two rings, a power of two.

        Raises:
            CoreStartError: There is not enough shared memory, or no descriptor left for it.
        """
        if struct.calcsize("P") < _WORD:
            raise CoreStartError(
                "this is a 32-bit Python, which loads a control word in two halves, and may "
                "find halves of two different ones; use a 64-bit one"
            )
        segment = Segment.allocate(_segment_bytes(ring_bytes))
        bells: list[Doorbell] = []
        try:
            bells.extend(doorbell.new_doorbell() for _ in range(3))
        except OSError as error:
            segment.unmap()
            for bell in bells:
                bell.close_bell()
            raise CoreStartError(
                f"no descriptors for a core's doorbells: {error}. Raise the limit (`ulimit -n`), "
                "or use fewer cores."
            ) from error
        requests, outcomes, room = bells
        return cls(segment, (requests, outcomes, room), ring_bytes, checked=must_check())

    @classmethod
    def attach(cls, address: MailboxAddress) -> Mailbox:
        """Attach the mailbox behind inherited descriptors."""
        segment = Segment.attach(address.segment, _segment_bytes(address.ring_bytes))
        bells = (
            doorbell.attach(address.requests),
            doorbell.attach(address.outcomes),
            doorbell.attach(address.room),
        )
        return cls(segment, bells, address.ring_bytes, checked=address.checked)

    @property
    def address(self) -> MailboxAddress:
        """The descriptors and sizes with which the other process attaches."""
        return MailboxAddress(
            self._segment.fd,
            self._ring_bytes,
            self.requests.fds,
            self.outcomes.fds,
            self.room.fds,
            self.checked,
        )

    def request_writer(self) -> RingWriter:
        """Make the parent's end of the request ring."""
        return self._writer(0, REQUEST_HEAD, REQUEST_TAIL)

    def request_reader(self) -> RingReader:
        """Make the core's end of the request ring."""
        return self._reader(0, REQUEST_HEAD, REQUEST_TAIL)

    def outcome_writer(self) -> RingWriter:
        """Make the core's end of the outcome ring."""
        return self._writer(1, OUTCOME_HEAD, OUTCOME_TAIL)

    def outcome_reader(self) -> RingReader:
        """Make the parent's end of the outcome ring."""
        return self._reader(1, OUTCOME_HEAD, OUTCOME_TAIL)

    def _writer(self, ring: int, head: int, tail: int) -> RingWriter:
        return RingWriter(self._rings[ring], self.words, head, tail, checked=self.checked)

    def _reader(self, ring: int, head: int, tail: int) -> RingReader:
        return RingReader(self._rings[ring], self.words, head, tail, checked=self.checked)

    def running_tokens(self) -> list[int]:
        """Return the tokens that crew threads run, from their words of the status page."""
        return [number for number in self.words[RUNNING:].tolist() if number]

    def close_mailbox(self) -> None:
        """Release the memory and close the bells. The rings cannot be used any more."""
        self.words.release()
        for ring in self._rings:
            ring.release()
        self._segment.unmap()
        for bell in (self.requests, self.outcomes, self.room):
            bell.close_bell()


class Arming:
    """The consumer's side of a bell's agreement with its producer (see `doorbell`)."""

    __slots__ = ("_count", "_word", "_words", "armed")

    def __init__(self, words: memoryview, word: int) -> None:
        self._words = words
        self._word = word
        self._count = 0
        self.armed = False

    def arm(self) -> None:
        """Ask for a ring from now on. The caller looks once more before sleeping."""
        self._count += 1
        self._words[self._word] = self._count
        self.armed = True
        full_fence()

    def disarm(self) -> None:
        """Ask for no ring any more. A ring that comes all the same is for nothing."""
        if self.armed:
            self._words[self._word] = 0
            self.armed = False


class Ringing:
    """The producer's side of a bell's agreement with its consumer (see `doorbell`)."""

    __slots__ = ("_bell", "_rung", "_word", "_words")

    def __init__(self, bell: Doorbell, words: memoryview, word: int) -> None:
        self._bell = bell
        self._words = words
        self._word = word
        self._rung = 0

    def ring_if_armed(self) -> bool:
        """Wake the consumer after publishing, if the bell is armed; return whether that was so."""
        full_fence()
        armed = self._words[self._word]
        if armed and armed != self._rung:
            self._rung = armed
            self._bell.ring()
            return True
        return False
