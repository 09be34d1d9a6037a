"""Forwards printed text and log records to the parent (see `wire.protocol.output`)."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from tokengate_mp.wire.protocol import output as wire
from tokengate_mp.wire.protocol.brief import OutputBrief, SharedBrief
from tokengate_mp.worker.output.pipe import OutputPipe
from tokengate_mp.worker.output.streams import Stream
from tokengate_mp.worker.process.imports import when_imported


class Forwarding:
    """The pipe to the parent with all its writers.

    Args:
        pipe: The pipe.
        streams: The streams that print to it.

    Attributes:
        pipe: The pipe.
    """

    def __init__(self, pipe: OutputPipe, streams: tuple[Stream, ...]) -> None:
        self.pipe = pipe
        self._streams = streams
        os.register_at_fork(after_in_child=self._part_after_fork)

    def flush_all(self) -> None:
        """Send the beginnings of lines, as far as there is room: the process is about to end."""
        self.pipe.stop_waiting()
        for stream in self._streams:
            if not stream.closed:
                stream.flush()

    def _part_after_fork(self) -> None:
        self.pipe.disown_page()
        for stream in self._streams:
            stream.forget_begun()


def forward_output(
    brief: OutputBrief, shared: SharedBrief, core: int, prefix: str, words: memoryview
) -> Forwarding:
    """Send printed text and log records of the process to the parent from now on.

    Args:
        brief: The settings.
        shared: The levels of loggers, and their names.
        core: The number of this core.
        prefix: The beginning of the ids of tokens.
        words: The status page.
    """
    pipe = OutputPipe(brief.fd, words)
    streams: tuple[Stream, ...] = ()
    if brief.streams:
        out = Stream(pipe, wire.OUT, 1, "<stdout>")
        err = Stream(pipe, wire.ERR, 2, "<stderr>")
        streams = out, err
        sys.stdout, sys.stderr = _text(out), _text(err)

    def forward_logging() -> None:
        from tokengate_mp.worker.output.log_handler import install  # noqa: PLC0415 - it needs logging

        install(pipe, shared, core, prefix)

    when_imported("logging", forward_logging)
    return Forwarding(pipe, streams)


def _text(stream: Stream) -> io.TextIOWrapper:
    wrapper: Callable[..., io.TextIOWrapper] = io.TextIOWrapper
    return wrapper(stream, "utf-8", "backslashreplace", "\n", write_through=True)
