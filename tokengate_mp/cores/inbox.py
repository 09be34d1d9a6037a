"""The inbox of one core: records taken apart and checked, a portion at a time.

This is the first of the four stations on the way back (take apart, settle, deliver, observe). What
is wrong here is wrong whatever the accounts say, and costs the process that wrote it. Nothing is
loaded that a user's object could have a say in.

Nearly all portions are plain values, and take the short way: one look at all kinds.
"""

from __future__ import annotations

from typing import Any, Final

from tokengate_mp.cores.leases import Leases
from tokengate_mp.errors import PayloadError, WireError
from tokengate_mp.ports import Portion
from tokengate_mp.wire.payload.buffers import place_of, taken_up
from tokengate_mp.wire.protocol.records import (
    BLOCKED,
    BORROWED,
    CALL,
    CUT,
    DROPPED,
    GIVEN_BACK,
    LINK,
    OUTCOME_JOIN,
    OUTCOME_PART,
    PICKLED,
    RAISED,
    RELEASED,
    VALUE,
    Outcome,
    Pieces,
    decode_outcome,
)

PORTION: Final = 256
"""How many records are settled at a time."""

_KINDS: Final = (VALUE, PICKLED, RAISED)


class Inbox:
    """Records that have arrived from a core and were not settled.

    Args:
        core: Number of the core, for errors.
        leases: What the core has been lent.

    Attributes:
        arrived: The records, in order.
    """

    __slots__ = ("_core", "_leases", "_pieces", "arrived")

    def __init__(self, core: int, leases: Leases) -> None:
        self._core = core
        self._leases = leases
        self._pieces = Pieces()
        self.arrived: list[Outcome] = []

    def next_portion(self) -> Portion | None:
        """Take the next portion; None if nothing has arrived.

        Raises:
            WireError: A record makes no sense. The portion is lost with it.
        """
        outcomes = self.arrived[:PORTION]
        if not outcomes:
            return None
        del self.arrived[:PORTION]
        if any([outcome.kind for outcome in outcomes]):  # noqa: C419 - twice as fast as a generator
            portion = Portion([], plain=False)
            for outcome in outcomes:
                self._sort(outcome, portion)
        else:
            portion = Portion(outcomes, plain=True)
        if self._leases.requests:
            portion.released = self._leases.end_leases(
                [outcome.number for outcome in portion.outcomes]
                + portion.dropped
                + portion.given_back
            )
        return portion

    def _sort(self, outcome: Outcome, portion: Portion) -> None:  # noqa: C901 - one for each kind
        """Put a record into its part of a portion."""
        kind = outcome.kind
        if kind == OUTCOME_PART:
            self._pieces.add_piece(outcome.number, outcome.value)
            return
        if kind == OUTCOME_JOIN:
            outcome = decode_outcome(self._pieces.join_pieces(outcome.number, outcome.value))
            kind = outcome.kind
        if kind == GIVEN_BACK:
            portion.given_back.append(outcome.number)
        elif kind == DROPPED:
            portion.dropped.append(outcome.number)
        elif kind == CUT:
            if type(outcome.value) is not int or outcome.value < 1:
                raise WireError(f"token {outcome.number} was cut to {outcome.value!r} items")
            portion.cut[outcome.number] = outcome.value
        elif CALL <= kind <= LINK:
            portion.announcements.append(outcome)
        elif kind in {BORROWED, RELEASED}:
            self._change_leases(outcome)
        elif kind & ~BLOCKED not in _KINDS:
            raise WireError(f"there is no outcome of kind {kind}")
        else:
            if kind & ~BLOCKED == PICKLED:
                outcome = self._claimed(outcome)
            portion.outcomes.append(outcome)

    def _change_leases(self, record: Outcome) -> None:
        try:
            names = [(region, offset) for region, offset in record.value]
            if record.kind == BORROWED:
                self._leases.borrow(names)
            else:
                self._leases.release(names)
        except (AssertionError, KeyError, TypeError, ValueError, PayloadError) as error:
            raise WireError(
                f"core {self._core} speaks of blocks that it does not have: {error!r} in {record!r}"
            ) from error

    def _claimed(self, outcome: Outcome) -> Outcome:
        """A pickled outcome; a block that holds the value stays for as long as the pickle does."""
        number, pickled = outcome.number, outcome.value
        if not isinstance(pickled, bytes):
            raise WireError(f"token {number} has a pickled result that is no bytes")
        place = place_of(pickled)
        if place is not None and not self._leases.could_be_written(place):
            raise WireError(
                f"the result of token {number} is where its core does not write: {place}"
            )
        taken: Any = taken_up(pickled)
        if taken is pickled:
            return outcome
        return Outcome(number, outcome.kind, outcome.started, outcome.finished, taken)
