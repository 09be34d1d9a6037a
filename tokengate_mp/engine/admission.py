"""Admission: how many tokens, and how many bytes of arguments, may wait or run at once.

Both limits are there to protect the parent's memory, and are far from any normal use. A call beyond
one is refused, or waits where it can: in a thread without an event loop. Within a loop nothing can
wait in the middle of a call, so there `await coordinator.ready()` is what paces.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from tokengate_mp.config.settings import OnFull
from tokengate_mp.errors import AdmissionRejected
from tokengate_mp.locks import new_lock
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.payload.attachments import AttachedRecord
from tokengate_mp.wire.protocol.pending_call import PendingCall

COUNTED_BYTES: Final = 4096
"""Arguments are counted from this size on, bytes; smaller ones are bounded by their number."""

LOOK_SECONDS: Final = 0.5
"""How long a thread waits for room before it looks by itself."""


def counted_bytes(record: bytes | AttachedRecord | PendingCall) -> int:
    """How many bytes a call takes up: not those of an object that lies in shared memory already.

    What many calls have in common, or what was shared, counts with the call that it was stored for.
    """
    whole = record.record if isinstance(record, PendingCall) else record
    if isinstance(whole, AttachedRecord):
        return len(whole.record) + whole.written
    return len(record)


class Admission:
    """Bounds on pending tokens and bytes, with the callers that wait for room.

    Args:
        max_tokens: The most tokens that may be pending.
        max_bytes: The most bytes of large arguments that may be.
        on_full: Whether calls beyond a limit wait, where they can, or are refused.
        count: Gives how many tokens are pending.

    Attributes:
        large: Bytes of large arguments that are pending.
        crowded: Whether anybody waits for room.
        pressed: Set when a call is refused or has to wait, in any thread.
    """

    def __init__(
        self, max_tokens: int, max_bytes: int, on_full: OnFull, count: Callable[[], int]
    ) -> None:
        self.large = 0
        self.crowded = False
        self.pressed = False
        self._max_tokens = max_tokens
        self._max_bytes = max_bytes
        self._on_full = on_full
        self._count = count
        self._counting = new_lock()
        # Entered by this, as its own way in is Python code: a Ctrl-C there would leave it locked.
        self._entry = new_lock()
        self._room = threading.Condition(self._entry)
        self._waiters: OrderedDict[object, asyncio.Future[None]] = OrderedDict()
        self._called: set[object] = set()  # those whose turn it is: each may be about to call
        self._closed = False

    @property
    def pending(self) -> int:
        """How many tokens are pending."""
        return self._count()

    def vacancies(self) -> int:
        """How many more tokens may be made, if their arguments are small."""
        return 0 if self.large >= self._max_bytes else self._max_tokens - self._count()

    def is_full(self) -> bool:
        """Whether a limit is reached."""
        return self.vacancies() <= 0

    def enter(self, record: bytes | AttachedRecord | PendingCall) -> None:
        """A call was taken in."""
        if len(record) > COUNTED_BYTES:
            size = counted_bytes(record)
            if size > COUNTED_BYTES:
                with self._counting:
                    self.large += size

    def release(self, token: Token[Any]) -> None:
        """The token has ended, and its arguments are not needed any more."""
        record, token.record = token.record, b""
        if len(record) > COUNTED_BYTES:
            size = counted_bytes(record)
            if size > COUNTED_BYTES:
                with self._counting:
                    self.large -= size

    def exchange(self, token: Token[Any], record: bytes | AttachedRecord) -> None:
        """The values of the tokens that a call needs are among its arguments now."""
        before, token.record = token.record, record
        sizes = [counted_bytes(each) for each in (before, record)]
        entered, now = (size if size > COUNTED_BYTES else 0 for size in sizes)
        with self._counting:
            self.large += now - entered

    def refusal(self, operation: str) -> AdmissionRejected:
        """The error of a call that there is no room for."""
        self.pressed = True
        pending = f"{self._count():,} tokens with {self.large:,} bytes of large arguments"
        return AdmissionRejected(
            f"{operation!r} was called while {pending} are pending, and max_pending="
            f"{self._max_tokens:,}, max_pending_bytes={self._max_bytes:,} are the limits; "
            "`await coordinator.ready()` before the call, or set higher limits"
        )

    def wait_in_thread(self, operation: str) -> None:
        """Block the calling thread, which runs no event loop, until there is room.

        Raises:
            AdmissionRejected: Calls are not to wait.
        """
        if self._on_full == "reject":
            raise self.refusal(operation)
        with self._entry:
            while not self._closed:
                # Anew for each wait, as whoever makes room takes it back for all threads at once;
                # and before the look: of room that there is after it, somebody tells then.
                self.crowded = True
                if not self.is_full():
                    return
                self.pressed = True
                # With a limit: room may come about without anybody seeing that somebody waits.
                self._room.wait(LOOK_SECONDS)

    async def ready(self, loop: asyncio.AbstractEventLoop, place: object) -> None:
        """Wait in the coordinator's loop until there is room, first come, first served.

        Args:
            loop: That loop.
            place: Stands for the one who waits. If it `is_called` then, nobody else is given its
                room before it has `gone_on`, which has to be said.
        """
        first = False
        while (self.vacancies() <= len(self._called) or self._waiters) and not self._closed:
            waiter = self._waiters[place] = loop.create_future()
            if first:
                self._waiters.move_to_end(place, last=False)
            self.crowded = self.pressed = True
            try:
                await waiter
            finally:
                self._waiters.pop(place, None)
            if not self.is_full():
                return
            # Somebody who had been called has called only now, and had said to have gone on.
            self._called.discard(place)
            first = True

    def is_called(self, place: object) -> bool:
        """Whether a waiter was called and has not gone on."""
        return place in self._called

    def gone_on(self, place: object) -> None:
        """Note that a called waiter has made its call, or makes none; in the loop's thread."""
        self._called.discard(place)
        # There may be room yet, and no token to end that would bring a turn.
        if self._waiters:
            self.make_room()

    def make_room(self) -> None:
        """Call as many waiters as there is room for now; in the loop's thread."""
        vacancies = self.vacancies() - len(self._called)
        while self._waiters and (vacancies > 0 or self._closed):
            place, waiter = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                self._called.add(place)
                vacancies -= 1
        with self._entry:
            self._room.notify_all()
            self.crowded = bool(self._waiters)

    def close(self) -> None:
        """Nobody waits any longer; calls are refused elsewhere."""
        self._closed = True
        self.make_room()
