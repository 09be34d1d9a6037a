"""What happens to cores, as the engine deals with it (see `ports.BackendEvents`)."""

from __future__ import annotations

from time import monotonic_ns
from typing import Protocol

from tokengate_mp.engine.control import TokenControl, tokens_of
from tokengate_mp.engine.core_loss import end_lost
from tokengate_mp.engine.give_up import why_stranded
from tokengate_mp.engine.inbound.receiver import Receiver
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.outbound.functions import Functions
from tokengate_mp.engine.peers import Peers
from tokengate_mp.engine.recycling import Recycling
from tokengate_mp.observe.events import (
    DRAINING,
    EXITED,
    GIVEN_UP,
    IRREPLACEABLE,
    LAUNCHED,
    RECOVERED,
    SUSPECT,
    TOOK_OVER,
    EventRing,
)
from tokengate_mp.ports import CoreLink, Ending, GivenUp
from tokengate_mp.scheduling.scheduler import Scheduler


class TurnTaker(Protocol):
    """The engine, as far as events of cores lead to turns."""

    def heard(self, link: CoreLink) -> None:
        """Receive from a core that has rung, and take a turn."""

    def look_around(self) -> None:
        """Receive from every core, rung or not, and take a turn."""

    def request_turn(self) -> None:
        """Take a turn when the loop runs again."""

    def break_down(self, error: Exception) -> None:
        """End everything after an error that should not be possible."""


class CoreEvents:
    """Brings the events of a backend before the scheduler.

    Args:
        engine: Takes turns.
        scheduler: Told of the facts.
        peers: The peer of each link.
        receiver: Receives the last words of a process.
        recycling: Told of processes that take over, and end.
        functions: Has the definitions of all functions.
        nested_tokens: Told of processes that have ended.
        control: Ends tokens that were lost, or can run nowhere.
        events: Takes events.

    Attributes:
        without: The cores that were given up, as a set of bits.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that the end of a process touches
        self,
        engine: TurnTaker,
        scheduler: Scheduler,
        peers: Peers,
        receiver: Receiver,
        recycling: Recycling,
        functions: Functions,
        nested_tokens: NestedTokens,
        control: TokenControl,
        events: EventRing,
    ) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._peers = peers
        self._receiver = receiver
        self._recycling = recycling
        self._functions = functions
        self._nested_tokens = nested_tokens
        self._control = control
        self._events = events
        self.without = 0
        self._reasons: dict[int, str] = {}  # of those, in the order in which they were given up
        self._refusal = b""

    # ---- processes come

    def launched(self, link: CoreLink) -> None:
        """Teach a new process every function."""
        self._peers.of(link)
        self._record(LAUNCHED, link.core, link.facts().pid)
        # (A copy: another thread may enrol one meanwhile.)
        for index, definition in list(self._functions.known.items()):
            link.define(index, definition)

    def took_over(self, link: CoreLink) -> None:
        """A core has another process, which is up: the core can be sent tokens."""
        self._recycling.begin_shift(self._peers.of(link))
        self._scheduler.core_ready(link.core)
        self._record(TOOK_OVER, link.core, link.facts().pid)

    # ---- they have news

    def heard(self, link: CoreLink) -> None:
        """Receive from a core that has rung."""
        self._engine.heard(link)

    def look_around(self) -> None:
        """Receive from every core, rung or not."""
        self._engine.look_around()

    def operation_of(self, core: int, number: int) -> str | None:
        """The operation of a token; None if the core does not hold the token."""
        ticket = self._scheduler.accounts.held_ticket(core, number)
        return None if ticket is None else ticket.operation.name

    # ---- they go

    def exited(self, link: CoreLink, ending: Ending) -> bool:
        """Settle the outcomes that a process has left, and end the tokens that were running.

        Returns:
            Whether it had made progress.
        """
        peer, progress, core = self._peers.of(link), True, link.core
        try:
            self._receiver.receive(link, None)
            if link.ready:
                progress = self._recycling.made_progress(peer)
                end_lost(peer, ending, self._scheduler, self._control)
        except Exception as error:  # noqa: BLE001 - whatever it is, no token may wait for ever
            self._engine.break_down(error)
        else:
            self._nested_tokens.process_gone(peer)
            self._engine.request_turn()
        self._peers.remove_peer(link)
        self._record(EXITED, core, ending.pid, ending.exitcode, ending.because, progress)
        return progress

    def given_up(self, core: int, given_up: GivenUp) -> None:
        """A core gets no more processes: tokens that may run nowhere else end in the next turn."""
        self.without |= 1 << core
        self._reasons[core] = given_up.reason
        self._refusal = given_up.refusal or self._refusal
        self._record(GIVEN_UP, core, given_up.reason)
        self._engine.request_turn()

    def irreplaceable(self, core: int) -> None:
        """Take note that a core's process cannot be replaced, and goes on as long as allowed."""
        self._record(IRREPLACEABLE, core)
        self._engine.request_turn()

    def end_stranded(self) -> None:
        """End tokens that may run on no cores but given up."""
        stranded = tokens_of(self._scheduler.stranded(self.without))
        for token in stranded:
            self._control.deliver_error(token, why_stranded(self._refusal, self._reasons))
        if stranded:  # tokens that depend on them end in the next turn
            self._engine.request_turn()

    # ---- nodes

    def draining(self, link: CoreLink) -> None:
        """Send nothing more to a link that is about to go, and recall its unbegun tokens."""
        self._scheduler.core_suspended(link.seat)
        link.recall()
        self._record(DRAINING, link.core)
        self._engine.request_turn()

    def suspect(self, link: CoreLink) -> None:
        """Send nothing more to a link that is not heard; its tokens stay its own."""
        self._scheduler.core_suspended(link.seat)
        self._record(SUSPECT, link.core)

    def recovered(self, link: CoreLink) -> None:
        """Send tokens again to a link that is heard again."""
        self._scheduler.core_resumed(link.seat)
        self._record(RECOVERED, link.core)
        self._engine.request_turn()

    def _record(self, kind: str, *facts: object) -> None:
        self._events.record((kind, monotonic_ns(), *facts))
