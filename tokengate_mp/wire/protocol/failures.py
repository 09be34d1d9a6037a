"""Exceptions as the values of RAISED outcomes.

`delivery.raised` makes exceptions of them again.
"""

from __future__ import annotations

from collections.abc import Collection

from tokengate_mp.errors import (
    PayloadError,
    describe,
    short_name,
    summary,
    traceback_of,
    type_name,
)
from tokengate_mp.wire.payload.codec import to_pickle
from tokengate_mp.wire.protocol.records import Failure, encode


def failure(error: BaseException, above: Collection[str] = ()) -> bytes:
    """Encode an exception as the value of a RAISED outcome.

    Args:
        error: The exception.
        above: Names of modules whose frames the traceback leaves out where they stand above the
            user's function.
    """
    type_name, message = describe(error)
    pickled = b""
    # SystemExit, KeyboardInterrupt or CancelledError, raised in the caller's event loop, would stop
    # that loop, or pass for a cancellation that nobody asked for; no future takes a StopIteration.
    kind = type(error)  # its `__class__` may say something else
    if issubclass(kind, Exception) and not issubclass(kind, StopIteration):
        try:
            pickled = to_pickle(error)
        except BaseException:  # noqa: BLE001 - pickling runs user code; it goes by its text then
            pickled = b""
    text = _traceback(error, above)
    return encode(Failure(pickled, printable(type_name), printable(message), text))


def refused_result(value: object, error: BaseException, above: Collection[str] = ()) -> bytes:
    """Encode, as the value of a RAISED outcome, that a result cannot be sent back.

    Args:
        value: The result.
        error: What pickling it raised.
        above: As for `failure`.
    """
    from tokengate_mp.wire.payload.diagnosis.path import find_culprit  # noqa: PLC0415 - for errors alone

    culprit = find_culprit(value, error, to_pickle)
    refused = PayloadError(
        f"the result{culprit.way}, of type {short_name(type(culprit.thing))}, cannot be sent back: "
        f"{summary(culprit.error)}"
    )
    refused.__cause__ = error
    return failure(refused, above)


def _traceback(error: BaseException, above: Collection[str]) -> str:
    import traceback  # noqa: PLC0415 - some ms that only failures should pay

    at = traceback_of(error)
    while at is not None and at.tb_frame.f_globals.get("__name__") in above:
        at = at.tb_next
    try:
        lines = traceback.format_exception(type(error), error, at)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        lines = [f"<no traceback: formatting it raised {type_name(type(broken))}>"]
    return printable("".join(lines))


def printable(text: str) -> str:
    """Escape lone surrogates in a text, since msgpack cannot hold any."""
    return text.encode("utf-8", "backslashreplace").decode()
