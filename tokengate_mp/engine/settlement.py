"""From outcomes to results: what a core wrote becomes what its tokens give.

Outcomes are settled in portions. Nearly all are plain values, and those take the short way; a
portion with anything else in it (results that were pickled, exceptions, pieces of something large,
tokens given back) is first brought into the same form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any, Final, cast

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.leases import Leases
from tokengate_mp.engine.admission import LARGE, Admission
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.errors import PayloadError, WireError
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.observe.history import History
from tokengate_mp.scheduling.accounts import Accounts
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.deferred import deliver_encoded
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.tokens.nested import Answer, NestedToken
from tokengate_mp.tokens.observers import observers, tell_observers
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.payload.attachments import referring
from tokengate_mp.wire.payload.buffers import place_of, taken_up
from tokengate_mp.wire.protocol import delivery
from tokengate_mp.wire.protocol.records import (
    BLOCKED,
    CALL,
    CUT,
    DROPPED,
    FIRST_NESTED,
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

_KINDS: Final = (VALUE, PICKLED, RAISED)
_NOBODY: Final = frozenset[int]()
_NONE: Final[dict[int, BaseException]] = {}
_WAITING, _COMPLETED, _FAILED = TokenState.WAITING, TokenState.COMPLETED, TokenState.FAILED


def settle(  # noqa: C901, PLR0912, PLR0913 - one loop for all tokens, so without calls
    scheduler: Scheduler,
    incarnation: Incarnation,
    history: History,
    admission: Admission,
    *,
    nested_tokens: NestedTokens,
    needed: Collection[int],
    deadline: int | None = None,
) -> None:
    """Settle the next portion of what has arrived from a core.

    Args:
        scheduler: Told of the outcomes.
        incarnation: Where they arrived.
        history: Remembers them.
        admission: Has room again for each token that ends.
        nested_tokens: Told of what cores say of tokens made inside tokens.
        needed: Numbers of tokens that others need: pickled results of theirs are not loaded.
        deadline: Until when results are loaded, monotonic ns; one is in any case. None for never.

    Raises:
        WireError: The core wrote something that makes no sense.
        KeyboardInterrupt: Ctrl-C came while a result was loaded. The portion ends with that one.
    """
    outcomes = incarnation.arrived[:PORTION]
    del incarnation.arrived[:PORTION]
    portion = None
    if any([outcome.kind for outcome in outcomes]):  # noqa: C419 - twice as fast as a generator
        portion = _sorted_out(outcomes, incarnation, nested_tokens, needed, deadline)
        outcomes = portion.outcomes
    seat = incarnation.seat
    try:
        if portion:
            _set_aside(scheduler, seat, portion)
        tickets = scheduler.settle(
            seat,
            [outcome.number for outcome in outcomes],
            [outcome.finished - outcome.started for outcome in outcomes],
            monotonic_ns(),
            failed=portion.failed if portion else _NONE,
            blocked=portion.blocked if portion else _NOBODY,
        )
    except KeyError as error:
        core = incarnation.core
        raise WireError(f"core {core} answered for token {error}, which it does not hold") from None
    if incarnation.begun:
        incarnation.done_with([outcome.number for outcome in outcomes])
        incarnation.done_with(portion.dropped if portion else ())
    if incarnation.leases.requests:
        _give_back(incarnation.leases, outcomes, portion)
    if portion and (portion.given_back or portion.dropped):
        nested_tokens.restless = True
    tokens = cast("list[Token[Any]]", tickets)
    history.completed(tokens, outcomes)
    for token, outcome in zip(tokens, outcomes, strict=True):
        stage = token.stage
        if stage is _WAITING:
            nested_tokens.restless = True
            continue  # it is run again
        token.started = outcome.started
        token.finished = outcome.finished
        # The arguments may be large, and the token may be kept for its result.
        if len(token.record) > LARGE:
            admission.release(token)
        else:
            token.record = b""
        token.function = None
        if stage is _COMPLETED:
            if outcome.kind == PICKLED and portion and token.number in portion.encoded:
                deliver_encoded(token, outcome.value)
                continue
            try:
                token.deliver(outcome.value)
            except asyncio.InvalidStateError:
                pass  # whoever holds a future can set its result
        elif stage is _FAILED:
            token.deliver_error(outcome.value)
            history.ended(token, portion.failed[outcome.number] if portion else outcome.value)
    if observers:
        tell_observers(tokens)
    if portion:
        _follow_up(portion, scheduler.accounts, seat)


@dataclass(slots=True)
class _Portion:
    """Outcomes with their values decoded, and what is particular about some of them."""

    outcomes: list[Outcome] = field(default_factory=list)
    failed: dict[int, BaseException] = field(default_factory=dict)
    blocked: set[int] = field(default_factory=set)
    given_back: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    encoded: set[int] = field(default_factory=set)
    cut: dict[int, int] = field(default_factory=dict)
    interrupt: KeyboardInterrupt | None = None


def _set_aside(scheduler: Scheduler, seat: int, portion: _Portion) -> None:
    """What a core is not going to run."""
    if portion.given_back:
        scheduler.given_back(seat, portion.given_back)
    if portion.dropped:
        scheduler.dropped(seat, portion.dropped)


def _follow_up(portion: _Portion, accounts: Accounts, seat: int) -> None:
    """What may run user code, and end in Ctrl-C: all that has arrived is settled by now."""
    for number, count in portion.cut.items():
        # (It may have come back with this portion, with as many as that.)
        batch = accounts.held_ticket(seat, number)
        if isinstance(batch, ForwardingToken):
            batch.cut(count)  # what was cut off is pickled, to go elsewhere
    if portion.interrupt is not None:
        raise portion.interrupt


def _give_back(leases: Leases, outcomes: list[Outcome], portion: _Portion | None) -> None:
    """What a core was leases with requests, it does not need for these any more."""
    leases.answered([outcome.number for outcome in outcomes])
    if portion:
        leases.answered([*portion.dropped, *portion.given_back])


def _sorted_out(
    outcomes: list[Outcome],
    incarnation: Incarnation,
    nested_tokens: NestedTokens,
    needed: Collection[int],
    deadline: int | None,
) -> _Portion:
    portion, loaded = _Portion(), False
    for place, arrived in enumerate(outcomes):
        # Loading results runs user code, and they may be large.
        late = loaded and deadline is not None and monotonic_ns() > deadline
        if late or portion.interrupt is not None:
            incarnation.arrived[:0] = outcomes[place:]
            break
        outcome = arrived
        if outcome.kind == OUTCOME_PART:
            incarnation.pieces.add_piece(outcome.number, outcome.value)
            continue
        if outcome.kind == OUTCOME_JOIN:
            outcome = decode_outcome(incarnation.pieces.join_pieces(outcome.number, outcome.value))
        if outcome.kind in (GIVEN_BACK, DROPPED):
            aside = portion.given_back if outcome.kind == GIVEN_BACK else portion.dropped
            aside.append(outcome.number)
        elif outcome.kind == CUT:
            if type(outcome.value) is not int or outcome.value < 1:
                raise WireError(f"token {outcome.number} was cut to {outcome.value!r} items")
            portion.cut[outcome.number] = outcome.value
        elif CALL <= outcome.kind < BLOCKED:
            nested_tokens.told(incarnation, outcome)
        else:
            carried = (
                nested_tokens.carried_by(incarnation, outcome.number) if incarnation.carried else ()
            )
            portion.outcomes.append(_read(outcome, portion, needed, incarnation.leases, carried))
            loaded = loaded or outcome.kind & ~BLOCKED != VALUE
    return portion


def _read(
    outcome: Outcome,
    portion: _Portion,
    needed: Collection[int],
    leases: Leases,
    carried: Sequence[NestedToken],
) -> Outcome:
    """An outcome with its value decoded; what is particular about it is noted in `portion`."""
    number, value = outcome.number, outcome.value
    kind = outcome.kind & ~BLOCKED
    if kind not in _KINDS:
        raise WireError(f"there is no outcome of kind {outcome.kind}")
    if outcome.kind & BLOCKED:
        portion.blocked.add(number)
    try:
        if kind == RAISED:
            error = portion.failed[number] = delivery.raised(value)
            value = Answer(kind, value) if number >= FIRST_NESTED else error
        elif kind == PICKLED:
            value = _taken_up(number, value, portion, needed, leases, carried)
    except KeyboardInterrupt as interrupt:
        # What was settled of it before is not lost with it: the loop may be run again.
        portion.interrupt = interrupt
        value = portion.failed[number] = PayloadError("Ctrl-C came while the result was loaded")
    return Outcome(number, kind, outcome.started, outcome.finished, value)


def _taken_up(  # noqa: PLR0913, PLR0917 - all that a result can need
    number: int,
    pickled: object,
    portion: _Portion,
    needed: Collection[int],
    leases: Leases,
    carried: Sequence[NestedToken],
) -> Any:
    """What is passed on of a pickled result."""
    if not isinstance(pickled, bytes):
        raise WireError(f"token {number} has a pickled result that is no bytes")
    place = place_of(pickled)
    if place is not None and not leases.wrote(place):
        raise WireError(f"the result of token {number} is where its core does not write: {place}")
    value = taken_up(pickled)
    if carried:
        # Whoever loads it, now or later, here or in a core process, must find what it refers to.
        value = referring(value, carried)
    if number >= FIRST_NESTED:
        # Made inside a token, and perhaps never looked at here: it stays as it travels.
        return Answer(PICKLED, value)
    if number in needed:
        portion.encoded.add(number)
        return value
    try:
        return delivery.result(value)
    except PayloadError as refused:
        portion.failed[number] = refused
        return refused
