"""The pipe for printed text and log records, from the end of the core process.

Output never keeps a token waiting for long. A message for which there is no room waits for some,
but only as long as the parent goes on reading: after `ROOM_TIMEOUT_MS` without room nothing waits
any more, and what finds no room is dropped and counted, until there is room again.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from itertools import count
from typing import Final

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.protocol import output as wire
from tokengate_mp.worker.run.interrupts import Interrupts, Shield
from tokengate_mp.worker.run.this_thread import ThisThread

ROOM_TIMEOUT_MS: Final = 1000
"""Milliseconds that a message waits for room while the parent reads nothing at all."""


class OutputPipe:
    """The core's end of the pipe, for any thread, and any process forked from the core process.

    Args:
        fd: Its descriptor.
        words: The status page.

    Attributes:
        gone: Whether nobody can be listening any more.
    """

    def __init__(self, fd: int, words: memoryview) -> None:
        os.set_blocking(fd, False)
        self.gone = False
        self._here: ThisThread | None = None
        self._operation_of: Callable[[int], str | None] | None = None
        self._fd = fd
        self._words = words
        self._own = True
        self._full = False
        self._sent = count(1)
        self._counting = threading.RLock()
        self._nobody = Interrupts(0)

    def know_tokens(self, here: ThisThread, operation_of: Callable[[int], str | None]) -> None:
        """Connect the pipe with the state of threads, once there is a crew.

        Args:
            here: The state of the calling thread.
            operation_of: Gives the operation of a token by its number, if it is known here.
        """
        self._here = here
        self._operation_of = operation_of

    def token_here(self) -> tuple[int, str | None]:
        """Return the token that the calling thread runs, 0 for none, and its operation if known."""
        if self._here is None or self._operation_of is None:
            return 0, None
        number = self._here.token_number()
        return number, self._operation_of(number) if number else None

    def shield(self) -> Shield:
        """Make a context in which the thread is not interrupted, in the middle of a message."""
        return Shield(self._nobody, None) if self._here is None else self._here.shield()

    def stop_waiting(self) -> None:
        """Let no message wait for room any more: the process is about to end."""
        self._full = True  # the parent waits for that end, and reads on after it

    def disown_page(self) -> None:
        """Leave the status page, in a fork of the process, to its single writer."""
        self._own = False

    def send_message(self, kind: int, text: bytes, thread: int, *, fresh: bool = True) -> bool:
        """Send a message; False if the message was dropped, or nobody listens.

        Args:
            kind: OUT, ERR or LOG (see `wire.protocol.output`).
            text: The message.
            thread: The thread whose message it is.
            fresh: Whether it continues nothing.
        """
        for frame in wire.frames(kind, os.getpid(), thread, text, fresh=fresh):
            if not self._send_frame(frame):
                self._count_dropped()
                return False
        if self._own:
            self._words[page.OUTPUT_COUNT] = next(self._sent)
        return True

    def _send_frame(self, frame: bytes) -> bool:
        while True:
            try:
                os.write(self._fd, frame)
            except BlockingIOError:
                if self._full or not self._await_room():
                    self._full = True
                    return False
            except OSError:  # the parent is gone, or a token closed what it does not own
                self.gone = True
                return False
            else:
                self._full = False
                return True

    def _await_room(self) -> bool:
        waiting = select.poll()
        waiting.register(self._fd, select.POLLOUT)
        return bool(waiting.poll(ROOM_TIMEOUT_MS))

    def _count_dropped(self) -> None:
        if self._own:
            with self._counting:
                self._words[page.OUTPUT_DROPPED] += 1
