"""Settling: a portion of what a core wrote is brought into the accounts, and its tokens end.

The way back has four stations, each walked once. The core's inbox takes records apart and checks
them (`cores.inbox`); here they are loaded and settled with the scheduler; the tokens deliver
(`engine.delivery`); and the observers note them (`observe`). What a user's object raises while it
is loaded, described or delivered ends its token alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from time import monotonic_ns
from typing import Any, Final, cast

from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.delivery import deliver_outcomes
from tokengate_mp.engine.inbound.loading import Loaded, load_outcomes
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.peers import Peer
from tokengate_mp.errors import WireError
from tokengate_mp.observe.events import PORTION, EventRing
from tokengate_mp.observe.history import History
from tokengate_mp.ports import Portion
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.sigint import HeldBack
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.tokens.observers import observers, tell_observers
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.protocol.records import Outcome

_NOBODY: Final = frozenset[int]()
_NONE: Final[dict[int, BaseException]] = {}
_AS_IT_IS: Final = nullcontext()


class Settlement:
    """Settles the portions of all cores.

    Args:
        scheduler: Told of the outcomes.
        nested_tokens: Told what cores announce of tokens made inside tokens.
        admission: Has room again for each token that ends.
        history: Remembers outcomes.
        needed: Numbers of tokens that other calls depend on: their results stay pickles.
        events: Takes events; None: a ring that nobody reads.
    """

    __slots__ = ("_admission", "_history", "_needed", "_nested_tokens", "_record", "_scheduler")

    def __init__(  # noqa: PLR0913, PLR0917 - all that the end of a token touches
        self,
        scheduler: Scheduler,
        nested_tokens: NestedTokens,
        admission: Admission,
        history: History,
        needed: Collection[int],
        events: EventRing | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._nested_tokens = nested_tokens
        self._admission = admission
        self._history = history
        self._needed = needed
        self._record = (EventRing() if events is None else events).record

    def settle(self, peer: Peer, portion: Portion, deadline: int | None) -> None:
        """Settle a portion; outcomes that there is no time to load stay `unsettled` at the peer.

        Args:
            peer: The core that the portion came from.
            portion: The portion.
            deadline: Until when results are loaded, monotonic ns; one is in any case. None for no
                limit.

        Raises:
            WireError: The portion does not fit the accounts.
            KeyboardInterrupt: Ctrl-C came while a result was loaded or delivered. The rest of the
                portion is settled, or unsettled as above.
        """
        for announcement in portion.announcements:
            self._nested_tokens.announced(peer, announcement)
        loaded, outcomes = None, portion.outcomes
        if not portion.plain:
            loaded = load_outcomes(outcomes, peer, self._needed, deadline)
            outcomes, peer.unsettled = loaded.outcomes, loaded.left
        interrupt: KeyboardInterrupt | None = None
        if loaded is None or not loaded.failed:
            tokens = self._strike(peer, portion, outcomes, loaded)
        else:
            # Errors that are run again, or not any more, are told of each other, and that is code
            # of the user's: a Ctrl-C that came in there would leave the accounts half done.
            tokens = []
            try:
                with HeldBack():
                    tokens = self._strike(peer, portion, outcomes, loaded)
            except KeyboardInterrupt as ctrl_c:
                interrupt = ctrl_c
        encoded = loaded.encoded if loaded else _NOBODY
        delivery = deliver_outcomes(tokens, outcomes, encoded, self._admission)
        if delivery.again or portion.given_back or portion.dropped:
            self._nested_tokens.claims.tokens_wait_again()
        interrupt = self._note(tokens, outcomes, loaded.failed if loaded else _NONE) or interrupt
        if observers:
            tell_observers(tokens)
        if portion.cut:
            self._cut_batches(peer.seat, portion)
        interrupt = interrupt or delivery.interrupt or (loaded.interrupt if loaded else None)
        if interrupt is not None:
            raise interrupt

    def _strike(
        self, peer: Peer, portion: Portion, outcomes: Sequence[Outcome], loaded: Loaded | None
    ) -> list[Token[Any]]:
        """Settle outcomes with the scheduler: their tokens."""
        seat, numbers = peer.seat, [outcome.number for outcome in outcomes]
        now = monotonic_ns()
        try:
            if portion.given_back:
                self._scheduler.given_back(seat, portion.given_back)
            if portion.dropped:
                self._scheduler.dropped(seat, portion.dropped)
            tickets = self._scheduler.settle(
                seat,
                numbers,
                [outcome.finished - outcome.started for outcome in outcomes],
                now,
                failed=loaded.failed if loaded else _NONE,
                blocked=loaded.blocked if loaded else _NOBODY,
            )
        except KeyError as error:
            raise WireError(
                f"core {peer.core} answered for token {error}, which it does not hold"
            ) from None
        if peer.begun:
            peer.end_on_top(numbers)
            peer.end_on_top(portion.dropped)
        if numbers or portion.given_back or portion.dropped:  # and not only news of hunger
            self._record(
                (
                    PORTION,
                    now,
                    peer.core,
                    len(numbers),
                    0 if loaded is None else len(loaded.failed),
                    len(portion.given_back),
                    len(portion.dropped),
                )
            )
        return cast("list[Token[Any]]", tickets)

    def _note(
        self,
        tokens: Sequence[Token[Any]],
        outcomes: Sequence[Outcome],
        failed: Mapping[int, BaseException],
    ) -> KeyboardInterrupt | None:
        """Have outcomes noted; a Ctrl-C that came while errors were described is returned."""
        try:
            # (Errors are described by code of the user's: history has a gap for no Ctrl-C.)
            with HeldBack() if failed else _AS_IT_IS:
                self._history.note_outcomes(tokens, outcomes, failed)
        except KeyboardInterrupt as ctrl_c:
            return ctrl_c
        return None

    def _cut_batches(self, seat: int, portion: Portion) -> None:
        """Send the items that were cut off batches elsewhere; pickling runs user code."""
        for number, count in portion.cut.items():
            # (It may have come back with this portion, with as many as that.)
            batch = self._scheduler.accounts.held_ticket(seat, number)
            if isinstance(batch, ForwardingToken):
                batch.cut(count)
