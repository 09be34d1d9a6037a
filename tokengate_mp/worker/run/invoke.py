"""Functions as a core process knows them, and what calling one gives.

A function arrives once, as a definition, and is called for many tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic_ns, thread_time_ns
from typing import Any, Final

from tokengate_mp import this_process
from tokengate_mp.config.seeds import Lead
from tokengate_mp.errors import PayloadError, note, summary
from tokengate_mp.wire.payload.buffers import LARGE, flat, pack
from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS, loads
from tokengate_mp.wire.payload.definition import resolve
from tokengate_mp.wire.protocol.failures import failure
from tokengate_mp.wire.protocol.records import (
    BLOCKED,
    CARRY,
    DROPPED,
    MAX_PAYLOAD,
    PICKLED,
    RAISED,
    VALUE,
    Request,
    encode,
)
from tokengate_mp.wire.protocol.references import encoding
from tokengate_mp.worker.run.interrupts import Interrupted, Interrupts
from tokengate_mp.worker.run.starvation import Closer

CARRIED_AT_ONCE: Final = 64
"""How many numbers go in one record: the shortest ring takes them in one piece."""

LONG_NS: Final = 200_000
"""From this duration on a run's CPU time is measured too: two readings cost 0.5 µs."""


class Pauses:
    """How long threads have waited for tokens.

    Attributes:
        any: Whether one ever has: looking at what belongs to a thread takes its time.
    """

    __slots__ = ("_own", "any")

    def __init__(self) -> None:
        self.any = False
        self._own = threading.local()

    def of_this_thread(self) -> int:
        """How long this one has, ns, since it was started."""
        ns: int = getattr(self._own, "ns", 0)
        return ns

    def add(self, ns: int) -> None:
        """This thread has waited for so long, ns."""
        self._own.ns = self.of_this_thread() + ns
        self.any = True


pauses: Final = Pauses()


class _Unwinding(threading.local):
    """What this thread is letting go of.

    Attributes:
        token: The number of the token whose frames those are, which was ended from outside; else 0.
    """

    token = 0


unwinding: Final = _Unwinding()


_SHORT: Final = SCALARS - {bytes, str}
"""Types of results that go as msgpack without a look at how long they are."""

_LONG: Final = frozenset({bytes, str})
"""Types of results that go so unless they are long: those go aside, and on as they came."""

_UNMEASURED: Final = 1 << 62

ABOVE: Final = (__name__, "tokengate_mp.worker.run.context_call")
"""The modules whose frames stand above the user's function."""


class Function:
    """A function that tokens call.

    Attributes:
        definition: What it arrived as.
        call: The plain function; None before it is loaded.
        last: How long its latest run took, ns; very long before the first.
        blocks: Whether its long runs spend most of their time waiting for something.
        in_doubt: Whether the latest used little CPU time, so that the next is looked at closely.
        lead: What makes its tokens leads; None if they are none.
    """

    __slots__ = ("blocks", "call", "definition", "in_doubt", "last", "lead")

    def __init__(
        self, definition: bytes, lead: Lead | None, call: Callable[..., Any] | None = None
    ) -> None:
        self.lead = lead
        self.definition = definition
        self.call = call
        self.last = _UNMEASURED
        self.blocks = False
        self.in_doubt = False

    def is_blocking(self, at_work: int, cpu: int, closer: Closer | None) -> bool:
        """Judge a long run; whether the function blocks, as far as is known now.

        Args:
            at_work: How long it took, ns, without its waits for tokens.
            cpu: How much CPU time its thread used, ns.
            closer: What looked at it closely; None if nothing did.
        """
        self.in_doubt = cpu * 2 < at_work
        if not self.in_doubt:
            self.blocks = False
        elif closer is not None and (blocked := closer.blocked(at_work)) is not None:
            self.blocks = blocked
        return self.blocks

    def load(self) -> Callable[..., Any]:
        """Set and return `call`; what raises the same error at each call, if loading it does.

        It is loaded by the first token that needs it, and not before: importing its module may take
        long, or end the process, and either is then known to be that token's doing.
        """
        call: Callable[..., Any]
        try:
            call = resolve(self.definition)
        except BaseException as error:  # noqa: BLE001 - importing runs user code
            call = _Unloadable(error)
        self.call = call
        return call


class _Unloadable:
    """Stands in for a function that could not be loaded."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._traceback = error.__traceback__

    def __call__(self, *_args: object, **_kwargs: object) -> None:
        # As it was: each raise would add its own frames, and keep what they refer to.
        raise self._error.with_traceback(self._traceback)


def run(  # noqa: C901, PLR0912 - in one piece, for every call counts here
    function: Function, request: Request, interrupts: Interrupts, slot: int
) -> tuple[bytes, int]:
    """Call `function` for one token.

    Args:
        function: The function.
        request: The token.
        interrupts: Told when the token can be interrupted.
        slot: The slot of this thread.

    Returns:
        The outcome as an encoded record, and when the call ended, monotonic ns.
    """
    number = request.number
    arguments = request.arguments
    call = function.call
    if call is None:
        call = function.load()
    long = function.last > LONG_NS
    closer = Closer() if long and function.in_doubt else None
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
                interrupts.leave(slot, number)
    except Interrupted as interrupted:
        # It may have come in the middle of the lines above. There is only one.
        interrupts.leave(slot, number)
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
            # Waiting for other tokens is not blocking: the thread gives up its place for that.
            at_work = function.last - (pauses.of_this_thread() - paused)
            if function.is_blocking(at_work, cpu, closer):
                kind |= BLOCKED
    return _record(number, kind, started, finished, value), finished


def _loaded(arguments: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, and those with names."""
    try:
        loaded: tuple[tuple[Any, ...], dict[str, Any]] = loads(arguments)
    except Exception as error:
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
        refused = PayloadError(
            f"the result, of type {type(value).__name__}, cannot be sent back: {summary(error)}"
        )
        refused.__cause__ = error
        kind = kind & BLOCKED | RAISED
        return encode((number, kind, started, finished, failure(refused)))


def _pickled(number: int, value: Any) -> bytes:
    """A result as a pickle; if it refers to tokens, the parent is told before."""
    carried: list[Any] = []
    encoding.references = carried
    try:
        pickled = pack(flat(value), this_process.arena)
    finally:
        encoding.references = None
    if carried:
        numbers = sorted({token.number for token in carried})
        for at in range(0, len(numbers), CARRIED_AT_ONCE):
            this_process.calls.tell(number, CARRY, value=numbers[at : at + CARRIED_AT_ONCE])
    return pickled


def apply(function: Callable[..., Any], /, *args: object, **kwargs: object) -> object:
    """Call `function`: what a token calls whose callable travels among its arguments."""
    return function(*args, **kwargs)
