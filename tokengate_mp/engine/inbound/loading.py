"""Loading: what the outcomes of a portion stand for, before they are settled.

Loading a result or an exception runs code of the user's classes. What that raises is the token's
own end; a Ctrl-C that comes meanwhile is kept until the portion is settled, so that no other token
is lost with it. Since results may be large, loading ends with the deadline of the turn: the
outcomes that are left are settled the next time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import monotonic_ns
from typing import Any

from tokengate_mp.engine.peers import Peer
from tokengate_mp.errors import PayloadError
from tokengate_mp.tokens.nested import Answer, NestedToken
from tokengate_mp.wire.payload.attachments import referring
from tokengate_mp.wire.protocol import delivery
from tokengate_mp.wire.protocol.records import (
    BLOCKED,
    FIRST_NESTED,
    PICKLED,
    RAISED,
    VALUE,
    Outcome,
)


class Loaded:
    """Outcomes with their values loaded, and the particulars of some.

    Attributes:
        outcomes: The outcomes; kinds are VALUE, PICKLED or RAISED without flags.
        failed: By number, the errors of those that raised.
        blocked: Numbers of those that spent most of their time off the CPU.
        encoded: Numbers of those whose value stays a pickle, as other calls depend on it.
        left: The outcomes that there was no time for.
        interrupt: A Ctrl-C that came while a value was loaded.
    """

    __slots__ = ("blocked", "encoded", "failed", "interrupt", "left", "outcomes")

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.failed: dict[int, BaseException] = {}
        self.blocked: set[int] = set()
        self.encoded: set[int] = set()
        self.left: list[Outcome] = []
        self.interrupt: KeyboardInterrupt | None = None


def load_outcomes(
    outcomes: list[Outcome], peer: Peer, needed: Collection[int], deadline: int | None
) -> Loaded:
    """Load the values of outcomes, in order.

    Args:
        outcomes: Checked outcomes of one core.
        peer: The core's peer: which tokens a result refers to.
        needed: Numbers of tokens that other calls depend on: their results stay pickles.
        deadline: Until when values are loaded, monotonic ns; one is in any case. None for no limit.
    """
    loaded, any_loaded = Loaded(), False
    for place, outcome in enumerate(outcomes):
        late = any_loaded and deadline is not None and monotonic_ns() > deadline
        if late or loaded.interrupt is not None:
            loaded.left = outcomes[place:]
            break
        carried = peer.carried.pop(outcome.number, ()) if peer.carried else ()
        loaded.outcomes.append(_load(outcome, loaded, needed, carried))
        any_loaded = any_loaded or outcome.kind & ~BLOCKED != VALUE
    return loaded


def _load(
    outcome: Outcome, loaded: Loaded, needed: Collection[int], carried: Sequence[NestedToken]
) -> Outcome:
    """An outcome with its value; particulars are noted in `loaded`."""
    number, value = outcome.number, outcome.value
    kind = outcome.kind & ~BLOCKED
    if outcome.kind & BLOCKED:
        loaded.blocked.add(number)
    try:
        if kind == RAISED:
            error = loaded.failed[number] = delivery.raised(value)
            value = Answer(kind, value) if number >= FIRST_NESTED else error
        elif kind == PICKLED:
            value = _load_result(number, value, loaded, needed, carried)
    except KeyboardInterrupt as interrupt:
        # What was settled before is not lost with it: the loop may be run again.
        loaded.interrupt = interrupt
        value = loaded.failed[number] = PayloadError("Ctrl-C came while the result was loaded")
    return Outcome(number, kind, outcome.started, outcome.finished, value)


def _load_result(
    number: int,
    pickled: bytes,
    loaded: Loaded,
    needed: Collection[int],
    carried: Sequence[NestedToken],
) -> Any:
    """The value that a token gives; a pickle where nobody may look at the value here."""
    if carried:
        # Whoever loads it, now or later, here or in a core process, must find what it refers to.
        pickled = referring(pickled, carried)
    if number >= FIRST_NESTED:
        # Made inside a token, and perhaps never looked at here: it stays as it travels.
        return Answer(PICKLED, pickled)
    if number in needed:
        loaded.encoded.add(number)
        return pickled
    try:
        return delivery.result(pickled)
    except PayloadError as refused:
        loaded.failed[number] = refused
        return refused
