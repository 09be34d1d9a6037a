"""`sys.stdout` and `sys.stderr` of a core process."""

from __future__ import annotations

import io
import os
import threading
from typing import Any, Final

from tokengate_mp.worker.output.pipe import OutputPipe

LINE: Final = 1 << 13
"""The beginning of a line, bytes, is kept here until it has its end, or is longer than this."""


class Stream(io.RawIOBase):
    """Under `sys.stdout` or `sys.stderr`: sends whole lines, each thread's by itself.

    Args:
        pipe: The pipe that takes them.
        kind: OUT or ERR (see `wire.protocol.output`).
        fd: The descriptor of the system's stream, for whoever asks, and for when nobody listens.
        name: Name of the stream.
    """

    def __init__(self, pipe: OutputPipe, kind: int, fd: int, name: str) -> None:
        self.name = name
        self.mode = "w"
        self._pipe = pipe
        self._kind = kind
        self._fd = fd
        self._begun: dict[int, bytes] = {}
        self._unfinished: set[int] = set()

    def forget_begun(self) -> None:
        """Drop the beginnings of lines in a fork of the process, which ends the lines itself."""
        self._begun.clear()
        self._unfinished.clear()

    def writable(self) -> bool:
        """Whether the stream can be written to: always."""
        return True

    def fileno(self) -> int:
        """Return the system's stream: commands that are started, and crashes, write there."""
        return self._fd

    def write(self, data: Any, /) -> int:
        """Take in printed text: lines go, and the beginning of a line waits for its end."""
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
            with self._pipe.shield():
                self._send_text(thread, text)
        return len(data) if type(data) is bytes else memoryview(data).nbytes

    def flush(self) -> None:
        """Send the beginnings of lines too; the parent waits for their ends."""
        super().flush()
        if not self._begun:
            return
        with self._pipe.shield():
            for thread in list(self._begun):
                if text := self._begun.pop(thread, b""):
                    self._send_text(thread, text)

    def _send_text(self, thread: int, text: bytes) -> None:
        fresh = thread not in self._unfinished
        sent = self._pipe.send_message(self._kind, text, thread, fresh=fresh)
        if sent and not text.endswith(b"\n"):
            self._unfinished.add(thread)
        else:
            self._unfinished.discard(thread)
        if not sent and self._pipe.gone:
            try:
                os.write(self._fd, text)  # a fork that outlives the core process
            except OSError:
                pass  # then nobody is there
