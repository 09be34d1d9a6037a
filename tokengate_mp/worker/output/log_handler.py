"""Forwards what is logged in a core process. Loaded when `logging` is, and not before."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

import msgspec

from tokengate_mp.errors import short_name, summary
from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS, to_pickle
from tokengate_mp.wire.payload.msgpack import encode
from tokengate_mp.wire.protocol import output as wire
from tokengate_mp.wire.protocol.brief import SharedBrief
from tokengate_mp.wire.protocol.failures import printable
from tokengate_mp.worker.output.pipe import OutputPipe

MAX_LOG_BYTES: Final = 1 << 20
"""A record longer than this, bytes, goes without its extra attributes, and cut."""

_NAMES: Final = frozenset({str})
_TEXTS: Final = ("exc_text", "stack_info")
_BARE: Final = frozenset(
    [
        *("name", "levelname", "levelno", "pathname", "filename", "module", "lineno", "funcName"),
        *("created", "msecs", "relativeCreated", "thread", "threadName", "process", "processName"),
        *("tokengate_core", "tokengate_token", "tokengate_operation"),
    ]
)
"""Attributes that stay when a record is cut: none of them is long."""


def install(pipe: OutputPipe, shared: SharedBrief, core: int, prefix: str) -> None:
    """Let the root logger forward records, and set up levels as in the parent.

    Args:
        pipe: The pipe to the parent.
        shared: The levels, and their names.
        core: The number of this core.
        prefix: The beginning of the ids of tokens.
    """
    for level, name in shared.level_names.items():
        logging.addLevelName(level, name)
    for name, level in shared.levels.items():
        logging.getLogger(name or None).setLevel(level)
    logging.disable(shared.disabled)
    logging.getLogger().addHandler(ForwardingHandler(pipe, core, prefix))


class ForwardingHandler(logging.Handler):
    """Sends records to the parent, formatted as far as only a core process can.

    Args:
        pipe: The pipe to the parent.
        core: The number of this core.
        prefix: The beginning of the ids of tokens.
    """

    def __init__(self, pipe: OutputPipe, core: int, prefix: str) -> None:
        super().__init__()
        self._pipe = pipe
        self._core = core
        self._prefix = prefix
        self._tracebacks = logging.Formatter()

    def handle(self, record: logging.LogRecord) -> bool:
        """Send a record, if the filters let the record pass.

        Without the handler's lock: a token may be interrupted in the middle of taking it, and then
        no thread could log any more. It is not needed, since a message's frames are told apart by
        their thread, and each is written in one piece.
        """
        # A bool; from Python 3.12 on the record that is to be sent, or False.
        passed: Any = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        text = self._encoded(record)
        with self._pipe.shield():
            self._pipe.send_message(wire.LOG, text, threading.get_ident())

    def _encoded(self, record: logging.LogRecord) -> bytes:
        fields = dict(record.__dict__)
        fields["msg"] = printable(_message(record))
        fields["args"] = fields["exc_info"] = None
        fields.pop("message", None)
        if record.exc_info and not record.exc_text:
            fields["exc_text"] = self._traceback(record)
        fields["tokengate_core"] = self._core
        number, operation = self._pipe.token_here()
        fields["tokengate_token"] = f"{self._prefix}-{number}" if number else None
        fields["tokengate_operation"] = operation
        try:
            if SCALARS.issuperset(map(type, fields.values())) and _NAMES.issuperset(
                map(type, fields)
            ):
                text = encode(fields)
            else:
                text = _one_by_one(fields)
        except NOT_MSGPACK:
            text = _one_by_one(fields)
        return text if len(text) <= MAX_LOG_BYTES else _one_by_one(_cut(fields))

    def _traceback(self, record: logging.LogRecord) -> str:
        try:
            return printable(self._tracebacks.formatException(record.exc_info))  # type: ignore[arg-type]  # logging made it
        except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
            return f"<no traceback: formatting it raised {short_name(type(broken))}>"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - formatting runs user code
        text = _text(record.msg) if isinstance(record.msg, str) else _described(record.msg)
        return f"{text} (its arguments {_described(record.args)} do not fit: {summary(error)})"


def _one_by_one(fields: dict[str, Any]) -> bytes:
    """Encode the attributes, each as well as possible."""
    return encode({printable(str(name)): _sendable(value) for name, value in fields.items()})


def _sendable(value: Any) -> Any:
    if type(value) in SCALARS:
        try:
            encode(value)
        except NOT_MSGPACK:
            pass
        else:
            return value
    try:
        return msgspec.msgpack.Ext(wire.PICKLED_ATTRIBUTE, to_pickle(value))
    except Exception:  # noqa: BLE001 - pickling runs user code; it goes by its text then
        return _described(value)


def _cut(fields: dict[str, Any]) -> dict[str, Any]:
    """Shorten a record that is too long."""
    length = MAX_LOG_BYTES // 16
    cut = {name: value for name, value in fields.items() if name in _BARE}
    cut |= {name: value[-length:] for name in _TEXTS if (value := fields.get(name))}
    message = fields["msg"]
    if len(message) > length:
        message = f"{message[:length]} … ({len(message)} characters)"
    return {**cut, "msg": message, "args": None, "exc_info": None}


def _described(value: Any) -> str:
    try:
        return printable(repr(value))
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<{short_name(type(value))}>"


def _text(value: str) -> str:
    return printable(str(value))
