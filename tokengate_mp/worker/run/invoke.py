"""Running a token: the call of its function, and the outcome as a record."""

from __future__ import annotations

import threading
from time import monotonic_ns, thread_time_ns
from typing import Any, Final

from tokengate_mp import this_process
from tokengate_mp.errors import PayloadError, note
from tokengate_mp.wire.payload.buffers import LARGE, flat, pack
from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS, loads
from tokengate_mp.wire.protocol.failures import failure, refused_result
from tokengate_mp.wire.protocol.records import (
    BLOCKED,
    CARRY,
    DROPPED,
    MAX_PAYLOAD,
    NUMBERS_PER_RECORD,
    PICKLED,
    RAISED,
    VALUE,
    Request,
    encode,
)
from tokengate_mp.wire.protocol.references import encoding
from tokengate_mp.worker.run.function import Function
from tokengate_mp.worker.run.interrupts import Interrupted, Interrupts
from tokengate_mp.worker.run.pauses import pauses
from tokengate_mp.worker.run.starvation import CloserLook

LONG_NS: Final = 200_000
"""From this duration on a run's CPU time is measured too: two readings cost 0.5 µs."""

ABOVE: Final = (
    __name__,
    "tokengate_mp.worker.run.applied",
    "tokengate_mp.worker.run.context_call",
)
"""The modules whose frames stand above the user's function."""


class _Unwinding(threading.local):
    """The frames that a thread is letting go of.

    Attributes:
        token: The number of the token whose frames go, since it was ended from outside; else 0.
    """

    token = 0


unwinding: Final = _Unwinding()

_SHORT: Final = SCALARS - {bytes, str}
"""Types of results that go as msgpack without a look at their length."""

_LONG: Final = frozenset({bytes, str})
"""Types of results that go as msgpack unless they are long: those go aside, and on as they came."""


def run(  # noqa: C901, PLR0912 - in one piece, for every call counts here
    function: Function, request: Request, interrupts: Interrupts, slot: int
) -> tuple[bytes, int]:
    """Call `function` for one token.

    Args:
        function: The function.
        request: The token.
        interrupts: Told when the token can be interrupted.
        slot: The slot of the calling thread.

    Returns:
        The outcome as an encoded record, and when the call ended, monotonic ns.
    """
    number = request.number
    arguments = request.arguments
    call = function.call
    if call is None:
        call = function.load()
    long = function.last > LONG_NS
    closer = CloserLook() if long and function.in_doubt else None
    cpu = thread_time_ns() if long else 0
    paused = pauses.of_this_thread() if long and pauses.any else 0
    started = monotonic_ns()
    try:
        try:
            interrupts.running[slot] = number
            if interrupts.unwanted:
                interrupts.refuse_unwanted(number)
            if isinstance(arguments, bytes):
                args, kwargs = _loaded(arguments)
                value = call(*args, **kwargs)
            else:
                value = call(*arguments)
        finally:
            interrupts.running[slot] = 0
            if interrupts.asked[slot]:
                interrupts.leave_reach(slot, number)
    except Interrupted as interrupted:
        # It may have come in the middle of the lines above. There is only one.
        interrupts.leave_reach(slot, number)
        # What its frames alone refer to goes now: tokens that it made end with it.
        unwinding.token = number
        interrupted.__traceback__ = interrupted.__context__ = None
        unwinding.token = 0
        finished = monotonic_ns()
        return encode((number, DROPPED, started, finished, None)), finished
    except BaseException as error:  # noqa: BLE001 - whatever it raises is the outcome
        finished = monotonic_ns()
        kind, value = RAISED, failure(error, ABOVE)
    else:
        finished = monotonic_ns()
        kind = VALUE if type(value) in _SHORT else PICKLED
    function.last = finished - started
    if long and function.last > LONG_NS:
        cpu = thread_time_ns() - cpu
        if cpu * 2 >= function.last:  # hardly any does not
            function.in_doubt = function.blocks = False
        else:
            # Waiting for other tokens is not blocking: the thread gives up the run slot for that.
            at_work = function.last - (pauses.of_this_thread() - paused)
            if function.is_blocking(at_work, cpu, closer):
                kind |= BLOCKED
    return _record(number, kind, started, finished, value), finished


def _loaded(arguments: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Load the positional and keyword arguments of a call."""
    try:
        loaded: tuple[tuple[Any, ...], dict[str, Any]] = loads(arguments)
    except Interrupted:
        raise
    except BaseException as error:
        note(
            error,
            "An argument raised this when it was loaded in the core process. The function was not "
            "called.",
        )
        raise
    return loaded


def _record(number: int, kind: int, started: int, finished: int, value: Any) -> bytes:
    if not kind & ~BLOCKED or (kind & PICKLED and type(value) in _LONG and len(value) < LARGE):
        kind &= BLOCKED
        try:
            return encode((number, kind, started, finished, value))
        except NOT_MSGPACK:
            kind |= PICKLED
    try:
        travelling = _pickled(number, value) if kind & PICKLED else value
        if kind & PICKLED and len(travelling) > MAX_PAYLOAD:
            raise PayloadError(  # noqa: TRY301 - handled like any result that cannot travel
                f"it takes {len(travelling)} bytes, and a token carries {MAX_PAYLOAD} at most; "
                "write it to a file and return the name"
            )
        return encode((number, kind, started, finished, travelling))
    except BaseException as error:  # noqa: BLE001 - pickling runs user code
        kind = kind & BLOCKED | RAISED
        return encode((number, kind, started, finished, refused_result(value, error, ABOVE)))


def _pickled(number: int, value: Any) -> bytes:
    """Pickle a result; before the record, tell the parent to which tokens the result refers."""
    carried: list[Any] = []
    encoding.references = carried
    try:
        pickled = pack(flat(value), this_process.arena)
    finally:
        encoding.references = None
    if carried:
        numbers = sorted({token.number for token in carried})
        for at in range(0, len(numbers), NUMBERS_PER_RECORD):
            some = numbers[at : at + NUMBERS_PER_RECORD]
            this_process.calls.tell_parent(number, CARRY, value=some)
    return pickled
