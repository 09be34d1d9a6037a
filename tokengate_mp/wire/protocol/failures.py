"""Exceptions as the values of RAISED outcomes.

`delivery.raised` makes exceptions of them again.
"""

from __future__ import annotations

from collections.abc import Collection

from tokengate_mp.errors import describe
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
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        try:
            pickled = to_pickle(error)
        except BaseException:  # noqa: BLE001 - pickling runs user code; it goes by its text then
            pickled = b""
    text = _traceback(error, above)
    return encode(Failure(pickled, printable(type_name), printable(message), text))


def _traceback(error: BaseException, above: Collection[str]) -> str:
    import traceback  # noqa: PLC0415 - some ms that only failures should pay

    at = error.__traceback__
    while at is not None and at.tb_frame.f_globals.get("__name__") in above:
        at = at.tb_next
    try:
        lines = traceback.format_exception(type(error), error, at)
    except Exception as broken:  # noqa: BLE001 - a user's __str__ may raise anything
        lines = [f"<no traceback: formatting it raised {type(broken).__name__}>"]
    return printable("".join(lines))


def printable(text: str) -> str:
    """Escape lone surrogates in a text, since msgpack cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode()
