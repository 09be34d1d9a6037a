"""What functions print and log in a core process goes to the parent (see `wire.protocol.output`).

Output never keeps a token waiting for long. A message for which there is no room waits for some,
but only as long as the parent goes on reading: after `ROOM_TIMEOUT_MS` without room nothing waits
any more, and what finds no room is dropped and counted, until there is room again.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.protocol import output as wire
from tokengate_mp.wire.protocol.brief import OutputBrief
from tokengate_mp.worker.nested.nesting import NestingCrew
from tokengate_mp.worker.output.log_import import when_logging_is_imported
from tokengate_mp.worker.run.interrupts import Interrupts, Shield

ROOM_TIMEOUT_MS: Final = 1000
"""Milliseconds that a message waits for room while the parent reads nothing at all."""

LINE: Final = 1 << 13
"""The beginning of a line, bytes, is kept here until it has its end, or is longer than this."""


class Voice:
    """The core's end of the pipe. Any thread may speak, and any process forked from this one.

    Args:
        fd: Its descriptor.
        words: The status page.

    Attributes:
        crew: The crew, once there is one.
        gone: Whether nobody can be listening any more.
        streams: What prints to it.
    """

    def __init__(self, fd: int, words: memoryview) -> None:
        os.set_blocking(fd, False)
        self.crew: NestingCrew | None = None
        self.gone = False
        self._fd = fd
        self._words = words
        self._own = True
        self._deaf = False
        self._spoken = count(1)
        self._counting = threading.RLock()
        self._nobody = Interrupts(0)
        self.streams: tuple[Stream, ...] = ()

    def end(self) -> None:
        """Send what has been begun, as far as there is room: this process is about to end."""
        self._deaf = True  # the parent waits for that end, and reads on after it
        for stream in self.streams:
            if not stream.closed:
                stream.flush()

    def let_go(self) -> None:
        """In a fork of this process: the status page has one writer."""
        self._own = False
        for stream in self.streams:
            stream.let_go()

    def shield(self) -> Shield:
        """Keeps this thread from being interrupted in the middle of a message."""
        return Shield(self._nobody, None) if self.crew is None else self.crew.shield()

    def say(self, kind: int, text: bytes, thread: int, *, fresh: bool = True) -> bool:
        """Send a message; False if it was dropped, or nobody listens.

        Args:
            kind: What it is (see `wire.protocol.output`).
            text: The message.
            thread: The thread whose it is.
            fresh: Whether it continues nothing.
        """
        for frame in wire.frames(kind, os.getpid(), thread, text, fresh=fresh):
            if not self._write(frame):
                self._count()
                return False
        if self._own:
            self._words[page.OUTPUT_COUNT] = next(self._spoken)
        return True

    def _write(self, frame: bytes) -> bool:
        while True:
            try:
                os.write(self._fd, frame)
            except BlockingIOError:
                if self._deaf or not self._room():
                    self._deaf = True
                    return False
            except OSError:  # the parent is gone, or a token closed what it does not own
                self.gone = True
                return False
            else:
                self._deaf = False
                return True

    def _room(self) -> bool:
        waiting = select.poll()
        waiting.register(self._fd, select.POLLOUT)
        return bool(waiting.poll(ROOM_TIMEOUT_MS))

    def _count(self) -> None:
        if self._own:
            with self._counting:
                self._words[page.OUTPUT_DROPPED] += 1


class Stream(io.RawIOBase):
    """Under `sys.stdout` or `sys.stderr`: sends whole lines, each thread's by itself.

    Args:
        voice: Where to.
        kind: What it is (see `wire.protocol.output`).
        fd: The descriptor of the system's stream, for whoever asks, and for when nobody listens.
        name: Name of the stream.
    """

    def __init__(self, voice: Voice, kind: int, fd: int, name: str) -> None:
        self.name = name
        self.mode = "w"
        self._voice = voice
        self._kind = kind
        self._fd = fd
        self._begun: dict[int, bytes] = {}
        self._unfinished: set[int] = set()

    def let_go(self) -> None:
        """In a fork of this process: what was begun in this one, it will end."""
        self._begun.clear()
        self._unfinished.clear()

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The system's stream: what a process that is started, or a crash, writes to."""
        return self._fd

    def write(self, data: Any, /) -> int:
        """Take in what is printed: lines go, and the beginning of one waits for its end."""
        # A signal's handler may print as well, right here: so what is begun is taken out.
        thread = threading.get_ident()
        text = self._begun.pop(thread, b"") + data
        end = text.rfind(b"\n") + 1
        if len(text) - end > LINE:
            end = len(text)
        if end < len(text):
            self._begun[thread] = text[end:]
            text = text[:end]
        if text:
            with self._voice.shield():
                self._say(thread, text)
        return len(data) if type(data) is bytes else memoryview(data).nbytes

    def flush(self) -> None:
        """Send the beginnings of lines too; the parent waits for their ends."""
        super().flush()
        if not self._begun:
            return
        with self._voice.shield():
            for thread in list(self._begun):
                if text := self._begun.pop(thread, b""):
                    self._say(thread, text)

    def _say(self, thread: int, text: bytes) -> None:
        fresh = thread not in self._unfinished
        said = self._voice.say(self._kind, text, thread, fresh=fresh)
        if said and not text.endswith(b"\n"):
            self._unfinished.add(thread)
        else:
            self._unfinished.discard(thread)
        if not said and self._voice.gone:
            try:
                os.write(self._fd, text)  # a fork that outlives the core process
            except OSError:
                pass  # then nobody is there


def open_voice(brief: OutputBrief, core: int, prefix: str, words: memoryview) -> Voice:
    """From now on, what is printed and logged here goes to the parent.

    Args:
        brief: How.
        core: The number of this core.
        prefix: What the ids of tokens begin with.
        words: The status page.
    """
    voice = Voice(brief.fd, words)
    os.register_at_fork(after_in_child=voice.let_go)
    if brief.streams:
        out = Stream(voice, wire.OUT, 1, "<stdout>")
        err = Stream(voice, wire.ERR, 2, "<stderr>")
        voice.streams = out, err
        sys.stdout, sys.stderr = _text(out), _text(err)

    def forward() -> None:
        from tokengate_mp.worker.output.log_handler import install  # noqa: PLC0415 - it needs logging

        install(voice, brief, core, prefix)

    when_logging_is_imported(forward)
    return voice


def _text(stream: Stream) -> io.TextIOWrapper:
    wrapper: Callable[..., io.TextIOWrapper] = io.TextIOWrapper
    return wrapper(stream, "utf-8", "backslashreplace", "\n", write_through=True)
