"""The engine: where calls go in and results come out, in turns.

Everything happens in the thread of one event loop. In a *turn*, outcomes that have come in are
settled and their futures resolved, new tokens go to the scheduler, and what the scheduler then
orders is sent. A turn is taken when a core rings, when a call was made, and within every so many
calls of a long burst, so that the cores work while the burst is still being made. A turn that has
lasted `TURN_NS` leaves what remains to the next one, and the loop runs in between.

    call → intake → gate (lane) → scheduler (core) → dispatch → link
    link → receiver → settlement → delivery → the Token's future; observers

The engine decides nothing, and does not know what its cores are: see `ports`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final

from tokengate_mp import this_process
from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.control import TokenControl, tokens_of
from tokengate_mp.engine.control_port import EngineControlPort
from tokengate_mp.engine.core_events import CoreEvents
from tokengate_mp.engine.dispatch import Dispatch
from tokengate_mp.engine.give_up import why_broken
from tokengate_mp.engine.inbound.receiver import Receiver
from tokengate_mp.engine.inbound.settlement import Settlement
from tokengate_mp.engine.interruption import Interruption
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.observation import Observation
from tokengate_mp.engine.outbound.breaker_guard import BreakerGuard
from tokengate_mp.engine.outbound.burst import Burst
from tokengate_mp.engine.outbound.intake import Intake
from tokengate_mp.engine.outbound.pending_calls import PendingCalls
from tokengate_mp.engine.peers import Peers
from tokengate_mp.engine.quiescence import Quiescence
from tokengate_mp.engine.recycling import Recycling
from tokengate_mp.engine.turns import Turns
from tokengate_mp.engine.withdrawals import Withdrawals
from tokengate_mp.locks import new_lock
from tokengate_mp.loops.host import Host
from tokengate_mp.loops.timers import Timer
from tokengate_mp.observe.events import CLOSED, OPENED, EventRing
from tokengate_mp.observe.history import History
from tokengate_mp.ports import CoreBackend, CoreLink
from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.operations import OperationRegistry
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.channel.doorbell import MAX_SLEEP

TURN_NS: Final = 4_000_000
"""How long a turn may go on settling outcomes, ns."""

_log = logging.getLogger(__name__)


class Engine:
    """Calls in, results out, for as long as a coordinator or an executor runs.

    Args:
        settings: The coordinator's settings.
        host: The loop that the engine lives in, and its thread.
        backend: The cores.
        public: Whether calls of decorated functions go in here. Of any number of engines in a
            process, one is public. The others are those of executors: they expect calls from other
            threads, and what is withdrawn from them goes on once it was sent.

    Attributes:
        control: Ends tokens and holds them back.
        admission: Bounds what may be pending.
        intake: Takes calls in.
        withdrawals: Takes tokens of executors back.
        control_port: Steers this engine, and shows what it does, from any thread.
    """

    def __init__(
        self,
        settings: CoordinatorSettings,
        host: Host,
        backend: CoreBackend,
        *,
        public: bool = True,
    ) -> None:
        self._public = public
        self._host = host
        self._backend = backend
        self._ended = False
        # Entered by callers in any thread, and by the same thread again (see there).
        operations = OperationRegistry(settings.threads_per_core, new_lock())
        self._scheduler = scheduler = Scheduler(
            len(settings.cpus),
            settings.threads_per_core,
            settings.routing,
            settings.poison_limit,
            operations,
        )
        self._accounts = scheduler.accounts
        self.admission = admission = Admission(
            settings.max_pending, settings.max_pending_bytes, settings.on_full, self.pending_count
        )
        self._turns = turns = Turns(
            host, self.turn_in_loop, self._accounts.has_unended, lambda: not self.intake.is_empty()
        )
        peers = Peers(backend.links)
        history = History()
        self._life = life = EventRing()
        interruption = Interruption(host.loop, scheduler, backend, peers, grace=settings.grace)
        self.control = control = TokenControl(
            host,
            scheduler,
            interruption,
            admission,
            history,
            turns.request_turn,
            self.take_in,
        )
        pending_calls = PendingCalls(scheduler, admission, control)
        breaker_guard = BreakerGuard(scheduler, control, life)
        self.withdrawals = Withdrawals(
            control, scheduler.accounts, self.take_in, turns.request_turn_threadsafe
        )
        self.intake: Intake = Intake(
            host.callbacks,
            scheduler,
            pending_calls,
            turns,
            admission,
            breaker_guard,
            self.turn_within_call,
            self.withdraw,
        )
        self._nested_tokens = nested_tokens = NestedTokens(
            host.callbacks,
            scheduler,
            self.intake.functions,
            peers,
            admission,
            control.kill,
            breaker_guard,
            pending_calls,
        )
        control.forsaken = nested_tokens.forsake
        self._recycling = Recycling(
            settings, host.loop, scheduler, backend, peers, turns.request_turn
        )
        self._quiescence = Quiescence(host.loop, self.pending_count)
        self._dispatch = Dispatch(
            scheduler, backend, self.intake, pending_calls, nested_tokens, breaker_guard
        )
        self._receiver = Receiver(
            scheduler,
            backend,
            peers,
            self.intake,
            Settlement(scheduler, nested_tokens, admission, history, pending_calls.needed, life),
        )
        self._events = CoreEvents(
            self,
            scheduler,
            peers,
            self._receiver,
            self._recycling,
            self.intake.functions,
            nested_tokens,
            control,
            life,
        )
        self._observation = Observation(settings, scheduler, backend, peers, self.intake, life)
        self.control_port = EngineControlPort(
            host, control, breaker_guard, history, life, self._observation, self._start_cores
        )
        self._burst = Burst(settings.pins, scheduler.parent_busy)
        self._tick = Timer(host.loop, self._heed_the_time)
        self._recall = Timer(host.loop, self._recall_overdue)
        self._patience = Timer(host.loop, self.look_around)  # if a bell was not heard

    # ---- opening and closing

    def open(self) -> None:
        """Start the cores and take calls.

        Raises:
            CoreStartError: The cores cannot be started.
        """
        self._backend.open(self._events)
        self.intake.arena = self._backend.arena
        if self._public:
            this_process.open_coordinator(self.intake, self.control, self._nested_tokens.show)
        self._life.record((OPENED, monotonic_ns()))

    def close(
        self, error: Callable[[Token[Any]], BaseException], signal: int | None = None
    ) -> None:
        """Take no more calls, end every token with `error(token)`, and end the cores.

        Args:
            error: The error of each token.
            signal: What core processes are sent; None for a request to end.
        """
        if self._ended:
            return
        self._ended = self.intake.closed = True
        for timer in (self._recall, self._patience, self._tick, self._recycling, self._turns):
            timer.cancel()
        self.take_in()
        self.control.close(error)
        self.admission.close()
        if self._public:
            this_process.close_coordinator(self.intake)
        self._quiescence.end()
        self._life.record((CLOSED, monotonic_ns()))
        self._backend.stop(signal)

    @property
    def ended(self) -> bool:
        """Whether the engine was closed."""
        return self._ended

    def takes_calls(self) -> bool:
        """Whether the engine was opened and not closed."""
        return not self._ended and (not self._public or this_process.intake is self.intake)

    def abandon(self) -> None:
        """Let go of cores and tokens in a fork: the parent keeps both."""
        self._ended = self.intake.closed = True
        self._backend.abandon()

    # ---- turns

    def turn_within_call(self) -> None:
        """Take a turn in the middle of the caller's code: the loop stands, but cores must not."""
        if not self._receiver.receiving:  # loading a result runs user code, which may make a token
            self._backend.start_next()  # of those that the loop would have started by now
            now = monotonic_ns()
            self._burst.look(now)
            # What has come in tells how much room the cores have; the first call of a burst does
            # not ask for that as long as there is any.
            if self._burst.goes_on or not self._accounts.has_room:
                for link in list(self._backend.links.values()):
                    self._receiver.receive(link, now + TURN_NS)
            self._send()
        self._burst.goes_on = True
        self._observation.last_turn = monotonic_ns()
        # For a turn that is due, and that Ctrl-C keeps the loop from.
        self._patience.run_within(MAX_SLEEP)

    def end_burst(self) -> None:
        """Note that the loop runs again, and will sleep soon."""
        self.intake.end_burst()
        self._burst.end()

    def turn_in_loop(self) -> None:
        """Take a turn, from the loop, and then everything that lets the loop sleep."""
        self._turns.due = False  # first: whoever makes a token from here on asks for another turn
        self.end_burst()
        if self._ended:
            return
        calls = not (self._public or self.intake.is_empty())
        try:
            if self._recycling.active:
                self._recycling.advance()
            self._send()
            if self._receive_before_sleep():
                self._turns.request_turn()
            elif self._accounts.unended_count:
                self._patience.run_within(MAX_SLEEP)
                self._recall_later()
            if self.admission.crowded:
                self.admission.make_room()
            if self.admission.pressed:
                self._observation.note_pressure(self.admission)
            self._quiescence.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, no token may wait for ever
            self.break_down(error)
        if calls and not self._ended:
            self._turns.expect_calls()
        self._observation.last_turn = monotonic_ns()

    def look_around(self) -> None:
        """Receive from every core, rung or not, and take a turn."""
        if self._ended:
            return
        try:
            deadline = monotonic_ns() + TURN_NS
            for link in self._backend.all_links():
                self._receiver.receive(link, deadline)
        except Exception as error:  # noqa: BLE001 - as in `turn_in_loop`
            self.break_down(error)
        else:
            # Whether or not they seem to be due: Ctrl-C may have come when the loop was about to.
            self._host.callbacks.renew()
            self.turn_in_loop()

    def _receive_before_sleep(self) -> bool:
        """Ask every core for its bell, and receive from cores that had news before.

        Returns:
            Whether there was one, so that another turn is due.
        """
        deadline = monotonic_ns() + TURN_NS
        news, behind = False, self._receiver.behind
        for seat, link in list(self._backend.links.items()):
            if link in behind or not link.may_sleep(self._accounts.held_count(seat)):
                news = True
                self._receiver.receive(link, deadline)
        return news

    def _send(self) -> None:
        """End withdrawn tokens, take in calls, and send tokens as ordered."""
        withdrawals = self.withdrawals
        with withdrawals.sending:
            if withdrawals.withdrawn:
                withdrawals.end_withdrawn()
            self._dispatch.send_orders()
            if (tick := self._scheduler.next_tick()) is not None:
                self._tick.run_at(tick)
            if self._events.without:
                self._events.end_stranded()

    def take_in(self) -> None:
        """Tell the scheduler of new functions, then of new tokens."""
        with self.withdrawals.sending:
            self._dispatch.take_in()

    def _recall_later(self) -> None:
        if self._scheduler.could_recall() or self._nested_tokens.claims.pending:
            self._recall.run_within(RECALL_NS / 1e9)

    def _recall_overdue(self) -> None:
        """Recall unbegun tokens for a core that is idle or waits."""
        for core in self._scheduler.overdue(monotonic_ns()):
            self._backend.links[core].recall()
        if self._nested_tokens.claims.pending:
            self._nested_tokens.recall_overdue()
        self._recall_later()

    def _heed_the_time(self) -> None:
        """End tokens whose time is up, and let tokens wait again whose pause is over."""
        for token in tokens_of(self._scheduler.tick(monotonic_ns())):
            self.control.time_is_up(token)
        self._turns.request_turn()

    def heard(self, link: CoreLink) -> None:
        """Receive from a core that has rung, and take the rest of the turn later.

        So whoever awaits it goes on first, unless something waits that cores might go without.
        """
        if self._ended:
            return
        self.end_burst()
        due, self._turns.due = self._turns.due, True  # it is taken below: nobody has to ask
        try:
            deadline = monotonic_ns() + TURN_NS
            try:
                self._receiver.receive(link, deadline)
                if self._accounts.has_waiting:  # those about to ring need not, if heard now
                    for other in list(self._backend.links.values()):
                        if other is not link and other.has_news():
                            self._receiver.receive(other, deadline)
            finally:
                self._turns.due = due  # Ctrl-C, too, may end this
        except Exception as error:  # noqa: BLE001 - as in `turn_in_loop`
            self.break_down(error)
        else:
            claimed = self._nested_tokens.claims.pending
            urgent = self._accounts.has_waiting or claimed or self.intake.count()
            if urgent and monotonic_ns() <= deadline:
                self.turn_in_loop()
            else:
                self._turns.request_turn()

    def request_turn(self) -> None:
        """Take a turn when the loop runs again; in the loop's thread."""
        self._turns.request_turn()

    def break_down(self, error: Exception) -> None:
        """End everything after an error that should not be possible, and say so."""
        if self._ended:  # in the middle of a turn, which cannot go on then
            return
        _log.critical("the coordinator cannot go on", exc_info=error)
        self.close(lambda _token: why_broken(error))

    # ---- withdrawing

    def withdraw(self, token: ForwardingToken[Any]) -> None:
        """Nobody wants the outcome of a token any more; from any thread."""
        if self._public:
            self.control.token_cancelled(token)
        else:
            self.withdrawals.retract_token(token)

    # ---- joining and looking

    @property
    def arena(self) -> ParentArena | None:
        """Shared memory for large payloads; None if there is none."""
        return self.intake.arena

    def pending_count(self) -> int:
        """How many tokens were made and have not ended."""
        return self._accounts.unended_count + self.intake.count()

    async def restart(self) -> None:
        """Replace all core processes while they are well (see `Recycling.restart`)."""
        if not self._ended:
            await self._recycling.restart()

    async def join(self) -> None:
        """Wait, in the engine's loop, until every token has ended."""
        if not self._ended:
            await self._quiescence.join()
        self._backend.hear_output()

    def _start_cores(self) -> None:
        """Start the processes that the loop would start any moment."""
        if not self._receiver.receiving:  # as in `turn_within_call`
            self._backend.start_rest()
