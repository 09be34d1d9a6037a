"""What a token gets: the values and errors that outcomes stand for."""

from __future__ import annotations

from typing import Any

from tokengate_mp.errors import PayloadError, RemoteError, RemoteTraceback, link, summary
from tokengate_mp.sigint import is_raised_by
from tokengate_mp.wire.payload.codec import loads
from tokengate_mp.wire.protocol.records import decode_failure


def result(pickled: bytes) -> Any:
    """Load the result that travelled as `pickled`; user code takes part in that.

    Raises:
        PayloadError: The result cannot be loaded in this process: that code raised something,
            `KeyboardInterrupt` or `SystemExit` not excepted.
        KeyboardInterrupt: Ctrl-C came meanwhile. The result can be loaded anew.
    """
    try:
        return loads(pickled)
    except BaseException as error:
        if not is_raised_by(lambda: loads(pickled), error):
            raise
        raise PayloadError(
            f"the result arrived, but cannot be loaded here: {summary(error)}. "
            "Can its class be imported in this process, and does its pickling round-trip?"
        ) from error


def raised(value: bytes) -> Exception:
    """Load the exception that travelled as `value`, with the core's traceback as its cause.

    Raises:
        WireError: `value` is not a failure.
        KeyboardInterrupt: As for `result`.
    """
    failure = decode_failure(value)
    exception = _loaded(failure.pickled)
    if exception is None:
        exception = RemoteError(failure.type_name, failure.message, failure.traceback)
    link(exception, "__cause__", RemoteTraceback(failure.traceback))
    return exception


def _loaded(pickled: bytes) -> Exception | None:
    """Load the exception itself; None if that cannot be done here."""
    if not pickled:
        return None
    try:
        exception = loads(pickled)
    except BaseException as error:
        if not is_raised_by(lambda: loads(pickled), error):
            raise
        return None  # its text has come too
    # Unpickling can give anything, and no future takes a StopIteration.
    kind = type(exception)  # its __class__ may say something else
    fit = issubclass(kind, Exception) and not issubclass(kind, StopIteration)
    return exception if fit else None
