"""From outcomes to results: what a core wrote becomes what its tokens give.

Outcomes are settled in portions. Nearly all are plain values, and those take the short way; a
portion with anything else in it (results that were pickled, exceptions, pieces of something large,
tokens given back) is first brought into the same form.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any, Final, cast

from tokengate_mp.coordinator import delivery
from tokengate_mp.coordinator.domain import Incarnation
from tokengate_mp.errors import PayloadError, WireError
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.token import Token
from tokengate_mp.wire.records import (
    BLOCKED,
    DROPPED,
    GIVEN_BACK,
    OUTCOME_JOIN,
    OUTCOME_PART,
    PICKLED,
    RAISED,
    VALUE,
    Outcome,
    decode_outcome,
)

PORTION: Final = 256
"""How many outcomes are settled at a time."""

_NOBODY: Final = frozenset[int]()
_COMPLETED, _FAILED = TokenState.COMPLETED, TokenState.FAILED


def settle(scheduler: Scheduler, incarnation: Incarnation) -> None:
    """Settle the next portion of what has arrived from a core.

    Raises:
        WireError: The core wrote something that makes no sense.
    """
    outcomes = incarnation.arrived[:PORTION]
    del incarnation.arrived[:PORTION]
    portion = None
    if any([outcome.kind for outcome in outcomes]):  # noqa: C419 - twice as fast as a generator
        portion = _sorted_out(outcomes, incarnation)
        outcomes = portion.outcomes
    core = incarnation.core
    try:
        if portion and portion.given_back:
            scheduler.given_back(core, portion.given_back)
        if portion and portion.dropped:
            scheduler.dropped(core, portion.dropped)
        tickets = scheduler.settle(
            core,
            [outcome.number for outcome in outcomes],
            [outcome.finished - outcome.started for outcome in outcomes],
            monotonic_ns(),
            failed=portion.failed if portion else _NOBODY,
            blocked=portion.blocked if portion else _NOBODY,
        )
    except KeyError as error:
        raise WireError(f"core {core} answered for token {error}, which it does not hold") from None
    for ticket, outcome in zip(tickets, outcomes, strict=True):
        token = cast("Token[Any]", ticket)
        token.started = outcome.started
        token.finished = outcome.finished
        token.record = b""  # it may be large, and the token may be kept for its result
        token.function = None
        if token.stage is _COMPLETED:
            try:
                token.deliver(outcome.value)
            except asyncio.InvalidStateError:
                pass  # whoever holds a future can set its result
        elif token.stage is _FAILED:
            token.deliver_error(outcome.value)


@dataclass(slots=True)
class _Portion:
    """Outcomes with their values decoded, and what is particular about some of them."""

    outcomes: list[Outcome] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)
    blocked: set[int] = field(default_factory=set)
    given_back: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)


def _sorted_out(outcomes: list[Outcome], incarnation: Incarnation) -> _Portion:
    portion = _Portion()
    for arrived in outcomes:
        outcome = arrived
        if outcome.kind == OUTCOME_PART:
            incarnation.pieces.add(outcome.number, outcome.value)
            continue
        if outcome.kind == OUTCOME_JOIN:
            outcome = decode_outcome(incarnation.pieces.join(outcome.number, outcome.value))
        if outcome.kind in (GIVEN_BACK, DROPPED):
            aside = portion.given_back if outcome.kind == GIVEN_BACK else portion.dropped
            aside.append(outcome.number)
            continue
        number, value = outcome.number, outcome.value
        kind = outcome.kind & ~BLOCKED
        if outcome.kind & BLOCKED:
            portion.blocked.add(number)
        if kind == PICKLED:
            try:
                value = delivery.result(value)
            except PayloadError as error:
                value = error
                portion.failed.add(number)
        elif kind == RAISED:
            value = delivery.raised(value)
            portion.failed.add(number)
        elif kind != VALUE:
            raise WireError(f"there is no outcome of kind {outcome.kind}")
        portion.outcomes.append(Outcome(number, kind, outcome.started, outcome.finished, value))
    return portion
