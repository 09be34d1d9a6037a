"""The handler that forwards log records, in a core process."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tokengate_mp.worker.output.log_handler import ForwardingHandler


@pytest.fixture
def said() -> list[Any]:
    """The records that were sent."""
    return []


@pytest.fixture
def handler(said: list[Any]) -> ForwardingHandler:
    """A handler in a process that runs no token."""
    pipe: Any = SimpleNamespace(
        token_here=lambda: (0, None),
        shield=nullcontext,
        send_message=lambda _kind, text, _thread: said.append(msgspec.msgpack.decode(text)),
    )
    return ForwardingHandler(pipe, core=1, prefix="p")


def record(message: str) -> logging.LogRecord:
    """A record of logging."""
    return logging.makeLogRecord({"name": "a", "msg": message, "levelno": logging.INFO})


def test_a_lock_that_is_never_given_back_holds_up_nobody(handler, said) -> None:
    """A token that is interrupted in `logging` may leave the handler's lock taken for ever."""
    handler.acquire()
    try:
        thread = threading.Thread(target=handler.handle, args=(record("goes"),))
        thread.start()
        thread.join(10)
        assert [each["msg"] for each in said] == ["goes"]
    finally:
        handler.release()
        thread.join()


def test_filters_say_what_goes(handler, said) -> None:
    """A record that one of them refuses does not."""
    handler.addFilter(lambda each: each.msg != "stays")
    assert not handler.handle(record("stays"))
    assert handler.handle(record("goes"))
    assert [each["msg"] for each in said] == ["goes"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters say yes or no until then")
def test_a_filter_may_send_another_record(handler, said) -> None:
    """As it may with any other handler."""
    handler.addFilter(lambda _each: record("another"))
    assert handler.handle(record("one"))
    assert [each["msg"] for each in said] == ["another"]
