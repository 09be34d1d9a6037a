"""What core processes print and log, heard in the event loop's thread.

Each process has a pipe of its own (see `wire.protocol.output`). It is read when something comes in,
for `HEAR_NS` at a time; before the outcomes are settled that followed; and to its end when the
process has ended. What was printed goes to whatever is `sys.stdout` or `sys.stderr` at that moment,
in whole lines; a log record to the handlers of the logger of its name. None of them can do harm
here by what it raises. All of that is done in a copy of the context in which the engine was made
(in a notebook, of all but its cell: see `loops.notebook`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic_ns
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from tokengate_mp.errors import WireError, summary
from tokengate_mp.loops.notebook import context_of_no_cell, follow_running_cell
from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.payload.codec import loads
from tokengate_mp.wire.protocol.output import ERR, LOG, OUT, PICKLED_ATTRIBUTE
from tokengate_mp.wire.protocol.output_frames import Frame, Frames

P = ParamSpec("P")
R = TypeVar("R")

HEAR_NS: Final = 2_000_000
"""How long one look at what a process says may go on, ns; what is left is heard at the next one."""

_PIECE: Final = 1 << 14
"""Bytes read at a time: between two of them the clock is looked at."""

_LONGEST: Final = 1 << 22
"""What is longer than this, bytes, is not held back until it has its end."""

_LEVELS: Final = 1 << 14
"""How many characters the names of loggers may take together that a core process is told of."""

_LEVEL_NAMES: Final = {
    logging.CRITICAL: "CRITICAL",
    logging.ERROR: "ERROR",
    logging.WARNING: "WARNING",
    logging.INFO: "INFO",
    logging.DEBUG: "DEBUG",
    logging.NOTSET: "NOTSET",
}

_NEWLINE: Final = b"\n"
_STREAMS: Final = {OUT: "stdout", ERR: "stderr"}
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode
_log = logging.getLogger("tokengate_mp.worker.voice")  # by the name that users know
_complaints = logging.Handler()


def levels() -> tuple[dict[str, int], int]:
    """The levels of the parent's loggers, for a core process.

    Returns:
        The level of each logger that has one, that of the root at ""; of very many, those nearest
        to the root. And up to which level logging is disabled.
    """
    known = {"": logging.root.level}
    room = _LEVELS
    named = [
        (name, logger.level)
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level and name.isprintable()
    ]
    for name, level in sorted(named, key=lambda each: each[0].count(".")):
        room -= len(name)
        if room >= 0:
            known[name] = level
    return known, logging.root.manager.disable


def level_names() -> dict[int, str]:
    """Names of log levels in the parent, of those that `logging` does not have by itself."""
    names = list(logging._levelToName.items())  # noqa: SLF001 - no public way to all of them
    return {level: name for level, name in names if _LEVEL_NAMES.get(level) != name}


class OutputStreams:
    """The output and log records of all cores.

    Args:
        cores: How many cores there are.
        operation_of: Gives the operation of a token that a core holds, by core and number; None if
            the core does not hold it.
    """

    def __init__(self, cores: int, operation_of: Callable[[int, int], str | None]) -> None:
        self._context = context_of_no_cell()
        self._operation_of = operation_of
        self._before = dict.fromkeys(range(1, cores + 1), 0)
        self._listening: dict[Listener, int] = {}  # by its core, which may have several processes
        self._warned = False

    def listen(
        self, core: int, fd: int, words: memoryview, loop: asyncio.AbstractEventLoop
    ) -> Listener:
        """A listener for a process that was started.

        Args:
            core: The number of its core.
            fd: Descriptor of its pipe.
            words: The status page of its mailbox.
            loop: The event loop.
        """
        listener = Listener(core, fd, words, loop, self)
        self._listening[listener] = core
        return listener

    def stop_listening(self, listener: Listener) -> None:
        """Forget a listener whose process has ended; its losses stay counted."""
        self._before[self._listening.pop(listener)] += listener.unheard()

    def hear_all(self) -> None:
        """Hear everything that processes have said so far, the beginnings of lines too."""
        for listener in list(self._listening):
            listener.hear_out()

    def in_context(self, hear: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call what tells the user's streams and handlers something, in the context for that."""
        # A copy: a handler that stops the coordinator comes here again, for another process.
        context = self._context.copy()
        context.run(follow_running_cell)
        return context.run(hear, *args, **kwargs)

    def dropped(self) -> dict[int, int]:
        """By core, how many pieces of output were dropped; in any thread."""
        dropped = dict(self._before)
        for listener, core in list(self._listening.items()):
            with suppress(ValueError):  # it has ended, and its status page is closed, just now
                dropped[core] += listener.unheard()
        return dropped

    def warn_once(self, core: int) -> None:
        """Log, the first time, that something was dropped."""
        if not self._warned:
            self._warned = True
            _log.warning(
                "core %d: some of what its functions printed or logged was dropped: it was not "
                'read in time, or sys.stdout took nothing; get_stats()["cores"] counts it, as '
                '"dropped". Let the event loop run more often, or have functions say less',
                core,
            )

    def operation_of(self, core: int, token_id: str) -> str | None:
        """The operation of a token, if the core still has the token."""
        return self._operation_of(core, int(token_id.rpartition("-")[2]))


class Listener:
    """Hears the output of a process.

    Args:
        core: The number of its core.
        fd: Descriptor of its pipe.
        words: The status page of its mailbox.
        loop: The event loop.
        streams: The output of all cores.
    """

    def __init__(
        self,
        core: int,
        fd: int,
        words: memoryview,
        loop: asyncio.AbstractEventLoop,
        streams: OutputStreams,
    ) -> None:
        self._core = core
        self._fd = fd
        self._words = words
        self._loop = loop
        self._streams = streams
        self._frames = Frames()
        self._begun: dict[tuple[int, tuple[int, int]], bytes] = {}
        self._ready: dict[int, list[bytes]] = {OUT: [], ERR: []}
        self._hearing = False
        self._finished = False
        self._lost = 0

    # ---- reading

    def hear(self) -> None:
        """Hear for up to `HEAR_NS`; the event loop calls again if there is more."""
        if self._hearing:  # a handler has made a token, say, and so come back here
            return
        ended = not self._streams.in_context(self._hear, monotonic_ns() + HEAR_NS)
        if ended and not self._finished and not self._loop.is_closed():
            self._loop.remove_reader(self._fd)  # its end would be there to be read for ever

    def hear_out(self) -> None:
        """Hear everything that was said so far, the beginnings of lines too."""
        if not self._hearing and not self._finished:
            self._streams.in_context(self._hear_rest)

    def finish(self) -> None:
        """Hear the last words of a process that has ended.

        What the process has forked may speak on, to the parent's own streams from then on.
        """
        self._hearing = False  # a handler may have stopped the coordinator
        self.hear_out()
        if not self._finished:
            self._finished = True
            self._streams.stop_listening(self)

    def unheard(self) -> int:
        """How many pieces of the process's output were dropped."""
        return int(self._words[page.OUTPUT_DROPPED]) + self._lost

    def _hear_rest(self) -> None:
        self._hear(None)
        self._end_lines()

    def _hear(self, deadline: int | None) -> bool:
        """Hear until the pipe is empty, or the deadline, ns; False at the end of the pipe."""
        self._hearing = True
        # Without a deadline: what a process says that never pauses is for another time.
        left = _LONGEST
        try:
            while left > 0 and not self._finished:
                if deadline is not None and monotonic_ns() > deadline:
                    break
                try:
                    data = os.read(self._fd, _PIECE)
                except BlockingIOError:
                    break
                if not data:
                    return False
                left -= len(data)
                for frame in self._frames.take_apart(data):
                    self._take(frame)
                self._write()
        except WireError:
            _log.exception("core %d: what it prints and logs is not heard any more", self._core)
            return False
        finally:
            self._hearing = False
        if not self._finished and self.unheard():
            self._streams.warn_once(self._core)
        return True

    def _take(self, frame: Frame) -> None:
        key = (frame.kind, frame.speaker)
        begun = self._begun.pop(key, b"")
        if begun and frame.fresh:
            # The rest of that was dropped.
            if frame.kind != LOG:
                self._ready[frame.kind].append(begun + _NEWLINE)
            begun = b""
        text = begun + frame.text
        if frame.kind == LOG:
            if frame.last:
                self._write()  # what was printed before comes before
                self._deliver(text)
            elif len(text) <= _LONGEST:
                self._begun[key] = text
            return
        end = text.rfind(_NEWLINE) + 1
        if len(text) - end > _LONGEST:
            end = len(text)
        if end < len(text):
            self._begun[key] = text[end:]
        if end:
            if self._ready[OUT + ERR - frame.kind]:
                self._write()  # in the order of the two streams
            self._ready[frame.kind].append(text[:end])

    def _end_lines(self) -> None:
        for (kind, _), text in self._begun.items():
            if kind != LOG:
                self._ready[kind].append(text)
        self._begun = {key: text for key, text in self._begun.items() if key[0] == LOG}
        self._write()

    # ---- handing on

    def _write(self) -> None:
        for kind, texts in self._ready.items():
            if texts:
                self._ready[kind] = []
                self._print(_STREAMS[kind], b"".join(texts).decode("utf-8", "replace"), len(texts))

    def _print(self, name: str, text: str, pieces: int) -> None:
        try:
            stream = getattr(sys, name)
            if stream is None:  # as in a process without a console: print() does nothing there
                return
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = stream.encoding
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except Exception:  # noqa: BLE001 - closed, full, None, or an object of the user's own
            self._lost += pieces

    def _deliver(self, text: bytes) -> None:
        try:
            fields = {name: _loaded(value) for name, value in _decode(text).items()}
        except msgspec.MsgspecError as error:
            raise WireError(f"a log record does not decode: {error}") from error
        token = fields.get("tokengate_token")
        if token is not None and fields.get("tokengate_operation") is None:
            fields["tokengate_operation"] = self._streams.operation_of(self._core, token)
        try:
            self._handle(fields)
        except Exception:  # noqa: BLE001 - handlers, filters and record factories are the user's
            self._complain(fields)

    def _handle(self, fields: dict[str, Any]) -> None:
        logger = logging.getLogger(fields["name"])
        if logger.isEnabledFor(fields["levelno"]):
            record = logging.makeLogRecord({})
            # Since this process was started, as for its own records.
            since = record.relativeCreated + (fields["created"] - record.created) * 1000
            record.__dict__.update(fields, relativeCreated=since)
            logger.handle(record)

    def _complain(self, fields: dict[str, Any]) -> None:
        """As `logging` does about handlers that raise: see its `raiseExceptions`."""
        record = logging.LogRecord(
            fields["name"], fields["levelno"], fields["pathname"], fields["lineno"], "", (), None
        )
        record.__dict__.update(fields)
        try:
            _complaints.handleError(record)
        except Exception:  # noqa: BLE001 - there is no stderr to complain to
            return


def _loaded(value: Any) -> Any:
    if isinstance(value, msgspec.msgpack.Ext) and value.code == PICKLED_ATTRIBUTE:
        try:
            return loads(bytes(value.data))
        except Exception as error:  # noqa: BLE001 - loading runs user code
            return f"<cannot be loaded in this process: {summary(error)}>"
    return value
