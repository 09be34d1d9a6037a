"""The engine: what is walked through on the way out and back, in turns.

Everything happens in the thread of one event loop. In a *turn*, outcomes that have come in are
settled and their futures resolved, new tokens go to the scheduler, and what the scheduler then
orders is sent. A turn is taken when a core rings, when a call was made, and within every so many
calls of a long burst, so that the cores work while the burst is still being made. A turn that has
lasted `TURN_NS` leaves what remains to the next one, and the loop runs in between.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final

from tokengate_mp import this_process
from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.cores.output import Voices
from tokengate_mp.cores.supervisor import Supervisor
from tokengate_mp.engine.admission import Admission
from tokengate_mp.engine.breaker_guard import BreakerGuard
from tokengate_mp.engine.burst import Burst
from tokengate_mp.engine.control import TokenControl, tokens_of
from tokengate_mp.engine.core_loss import end_lost
from tokengate_mp.engine.dispatch import Dispatch
from tokengate_mp.engine.give_up import why_broken, why_stranded
from tokengate_mp.engine.intake import Intake
from tokengate_mp.engine.nested.nested_tokens import NestedTokens
from tokengate_mp.engine.pending_calls import PendingCalls
from tokengate_mp.engine.quiescence import Quiescence
from tokengate_mp.engine.receiver import Receiver
from tokengate_mp.engine.recycling import Recycling
from tokengate_mp.loops.host import Host
from tokengate_mp.loops.timers import Timer
from tokengate_mp.observe.stats import stats
from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.operations import OperationRegistry
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.forwarding import ForwardingToken
from tokengate_mp.tokens.token import Token
from tokengate_mp.wire.arena.regions import ParentArena
from tokengate_mp.wire.channel.doorbell import MAX_SLEEP
from tokengate_mp.wire.protocol.control import PATIENT_NS

TURN_NS: Final = 4_000_000
"""How long a turn may go on taking up outcomes, ns."""

_log = logging.getLogger(__name__)


class Engine:
    """Where calls go in and results come out, while a coordinator runs.

    It is the supervisor's watcher, and takes turns for intake and control; and it decides nothing.

    Args:
        settings: The coordinator's settings.
        host: The loop it lives in.
        public: Whether the calls of decorated functions go in here. (Of any number of engines in
            a process, one is public.)

    Attributes:
        control: Where tokens are ended and paused.
        admission: How much may be pending.
        breaker_guard: Which operations take no calls.
    """

    def __init__(self, settings: CoordinatorSettings, host: Host, *, public: bool = True) -> None:
        self._public = public
        self._settings = settings
        self._host = host
        self._loop = host.loop
        # Entered by callers in any thread, and by the same thread again (see there).
        operations = OperationRegistry(settings.threads_per_core, threading.RLock())
        self._scheduler = scheduler = Scheduler(
            len(settings.cpus),
            settings.threads_per_core,
            settings.routing,
            settings.poison_limit,
            operations,
        )
        self.admission = Admission(
            settings.max_pending, settings.max_pending_bytes, settings.on_full, self._pending
        )
        self._voices = Voices(len(settings.cpus), scheduler.accounts.held_ticket)
        self._supervisor = supervisor = Supervisor(settings, host.loop, self, self._voices)
        self.control = TokenControl(
            host, scheduler, supervisor, self, self.admission, grace=settings.grace
        )
        self._pending_calls = PendingCalls(scheduler, self.admission, self.control)
        self.breaker_guard = BreakerGuard(scheduler, self.control)
        self._intake = Intake(
            host.callbacks, scheduler, self._pending_calls, self, self.admission, self.breaker_guard
        )
        self._living = supervisor.living
        self._recycling = Recycling(settings, host.loop, scheduler, supervisor, self.request_turn)
        self._nested_tokens = NestedTokens(
            host.callbacks,
            scheduler,
            self._intake.functions,
            self._living,
            self.admission,
            self.control.kill,
            self.breaker_guard,
            self._pending_calls,
        )
        self._quiescence = Quiescence(host.loop, self._pending)
        self._dispatch = Dispatch(
            scheduler,
            supervisor,
            self._intake,
            self._pending_calls,
            self._nested_tokens,
            self.breaker_guard,
        )
        self._receiver = Receiver(
            scheduler,
            supervisor,
            self._intake,
            self.control.history,
            self.admission,
            self._nested_tokens,
            self._pending_calls.needed,
            self.took_over,
        )
        self.control.forsaken = self._nested_tokens.orphans.forsake
        self._burst = Burst(settings.cpus, scheduler.parent_busy)
        self.turn_due = self._ended = False
        self._without = 0  # the cores that were given up, as bits
        self._tick = Timer(host.loop, self._heed_the_time)
        self._recall = Timer(host.loop, self._take_back)
        self._glance = Timer(host.loop, self._look_around)
        self._patience = Timer(host.loop, self._look_around)  # if a bell was not heard

    # ---- opening and closing

    def open(self) -> None:
        """Start the core processes and take calls.

        Raises:
            CoreStartError: They cannot be started.
        """
        self._supervisor.open()
        self._intake.arena = self._supervisor.arena
        if self._public:
            this_process.open_coordinator(self._intake, self.control, self._nested_tokens.show)

    def close(self, error: Callable[[Token[Any]], BaseException]) -> None:
        """Take no more calls, end every token with `error(token)`, and end the core processes."""
        if self._ended:
            return
        self._ended = self._intake.closed = True
        for timer in (self._recall, self._glance, self._patience, self._tick, self._recycling):
            timer.cancel()
        self.take_in()
        self.control.close(error)
        self.admission.close()
        if self._public:
            this_process.close_coordinator(self._intake)
        self._quiescence.end()
        self._supervisor.stop_all()

    def takes_calls(self) -> bool:
        """Whether it was opened and not closed."""
        return this_process.intake is self._intake and not self._ended

    def abandon(self) -> None:
        """In a fork of this process: the core processes and the tokens are the parent's."""
        self._ended = self._intake.closed = True
        self._supervisor.abandon()

    # ---- turns

    def turn_within_call(self) -> None:
        """In the middle of the caller's code: the loop does not run, but the cores should."""
        if not self._receiver.looking:  # loading a result runs user code, which may make a token
            self._supervisor.start_next()  # of those that the loop would have started by now
            now = monotonic_ns()
            self._burst.look(now)
            # What has come in tells how much room the cores have; the first call of a burst does
            # not ask for that as long as there is any.
            if self._burst.goes_on or not self._scheduler.accounts.has_room:
                for incarnation in list(self._living.values()):
                    self._receiver.look_at(incarnation, now + TURN_NS)
            self._send()
        self._burst.goes_on = True
        self._patience.run_within(
            MAX_SLEEP
        )  # for a turn that is due, and that Ctrl-C keeps the loop from

    def _end_burst(self) -> None:
        """The loop runs again, and will sleep soon."""
        self._intake.end_burst()
        self._burst.end()

    def request_turn(self) -> None:
        """Take a turn when the loop runs again."""
        if not self.turn_due:
            self._ask_for_turn(self._loop.call_soon)

    def request_turn_from_elsewhere(self) -> None:
        """The same, from another thread."""
        self._ask_for_turn(self._host.post)

    def _ask_for_turn(self, ask: Callable[[Callable[[], None]], object]) -> None:
        try:
            self.turn_due = True
            ask(self._turn_in_loop)
        except BaseException:  # Ctrl-C, for one: whoever is next asks again
            self.turn_due = False
            raise

    def withdraw(self, token: ForwardingToken[Any]) -> None:
        """Nobody wants the outcome of a token any more; from any thread."""
        self.control.cancelled(token)

    def _turn_in_loop(self) -> None:
        """From the loop: a turn, and then everything that lets the loop sleep."""
        self.turn_due = False  # first: whoever makes a token from here on asks for another turn
        self._end_burst()
        if self._ended:
            return
        try:
            if self._recycling.active:
                self._recycling.look()
            self._send()
            if self._look_before_sleep():
                self.request_turn()
            elif self._scheduler.accounts.unended_count:
                self._patience.run_within(MAX_SLEEP)
                if self._scheduler.could_recall() or self._nested_tokens.claims:
                    self._recall.run_within(RECALL_NS / 1e9)
            if self.admission.crowded:
                self.admission.make_room()
            self._quiescence.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, no token may wait for ever
            self._break(error)

    def _look_around(self) -> None:
        """Look at every core, rung or not."""
        if self._ended:
            return
        try:
            deadline = monotonic_ns() + TURN_NS
            for incarnation in self._supervisor.processes():
                self._receiver.look_at(incarnation, deadline)
        except Exception as error:  # noqa: BLE001 - as in `_turn_in_loop`
            self._break(error)
        else:
            # Whether or not they seem to be due: Ctrl-C may have come when the loop was about to.
            self._host.callbacks.renew()
            self._turn_in_loop()

    def _look_before_sleep(self) -> bool:
        """Ask every core for its bell, and look at those that have rung it, had they been asked.

        Returns:
            Whether there was one, so that another turn is due.
        """
        deadline = monotonic_ns() + TURN_NS
        talking = False
        for seat, incarnation in list(self._living.items()):
            if incarnation.arm():
                continue
            if incarnation.will_ring(self._scheduler.accounts.held_count(seat)):
                # It was about to when it was not asked to, and its next pause may be the end of a
                # long token.
                self._glance.run_within(PATIENT_NS / 1e9)
            else:
                talking = True
                self._receiver.look_at(incarnation, deadline)
        return talking

    def _send(self) -> None:
        """Take in calls and send what is ordered."""
        self._dispatch.send()
        if (tick := self._scheduler.next_tick()) is not None:
            self._tick.run_at(tick)
        if self._without:
            refusal, reasons = self._supervisor.refusal, self._supervisor.reasons
            for token in tokens_of(self._scheduler.stranded(self._without)):
                self.control.deliver_error(token, why_stranded(refusal, reasons))

    def take_in(self) -> None:
        """New functions, then new tokens."""
        self._dispatch.take_in()

    def _take_back(self) -> None:
        """A core is idle and nothing waits: take back what others hold and have not begun."""
        for core in self._scheduler.overdue(monotonic_ns()):
            self._living[core].recall()
        if self._nested_tokens.claims:
            self._nested_tokens.recall_overdue()
        if self._scheduler.could_recall() or self._nested_tokens.claims:
            self._recall.run_within(RECALL_NS / 1e9)

    def _heed_the_time(self) -> None:
        """Some token's time is up, or its pause between two runs over."""
        for token in tokens_of(self._scheduler.tick(monotonic_ns())):
            self.control.time_is_up(token)
        self.request_turn()

    def _break(self, error: Exception) -> None:
        """Something happened that should not be possible: end everything, and say so."""
        if self._ended:  # in the middle of a turn, which cannot go on then
            return
        _log.critical("the coordinator cannot go on", exc_info=error)
        self.close(lambda _token: why_broken(error))

    # ---- the watcher

    def launched(self, incarnation: Incarnation) -> None:
        """A new process has to learn every function."""
        # (A copy: another thread may enrol one meanwhile.)
        for index, definition in list(self._intake.functions.known.items()):
            incarnation.define(index, definition)

    def heard(self, incarnation: Incarnation) -> None:
        """A core has rung: what is to be delivered comes first, and the rest of the turn later.

        So whoever awaits it goes on first, unless something waits that cores might go without.
        """
        incarnation.hear()
        if self._ended:
            return
        self._end_burst()
        due, self.turn_due = self.turn_due, True  # it is taken below: nobody has to ask
        try:
            deadline = monotonic_ns() + TURN_NS
            try:
                self._receiver.look_at(incarnation, deadline)
                if (
                    self._scheduler.accounts.has_waiting
                ):  # those about to ring need not, if heard now
                    for other in list(self._living.values()):
                        if other is not incarnation and other.has_news():
                            self._receiver.look_at(other, deadline)
            finally:
                self.turn_due = due  # Ctrl-C, too, may end this
        except Exception as error:  # noqa: BLE001 - as in `_turn_in_loop`
            self._break(error)
        else:
            urgent = (
                self._scheduler.accounts.has_waiting
                or self._nested_tokens.claims
                or self._intake.count()
            )
            if urgent and monotonic_ns() <= deadline:
                self._turn_in_loop()
            else:
                self.request_turn()

    def exited(self, incarnation: Incarnation, exitcode: int | None) -> None:
        """A core's process is gone; its last outcomes are still in the ring."""
        try:
            self._receiver.look_at(incarnation, None)
            if incarnation.ready:
                self._recycling.ended(incarnation)
                end_lost(incarnation, exitcode, self._scheduler, self.control)
        except Exception as error:  # noqa: BLE001 - as in `_turn_in_loop`
            self._break(error)
        else:
            self._nested_tokens.gone(incarnation)
            self.request_turn()

    def took_over(self, incarnation: Incarnation) -> None:
        """A core has another process: if it is up, the core can be sent tokens."""
        if incarnation.ready:
            self._recycling.begin(incarnation)
            self._scheduler.core_ready(incarnation.core)

    def irreplaceable(self) -> None:
        """A core's process cannot be replaced."""
        self.request_turn()

    def given_up(self, core: int) -> None:
        """A core gets no more processes."""
        self._without |= 1 << core
        self.request_turn()

    # ---- joining and looking

    @property
    def arena(self) -> ParentArena | None:
        """Where what is large goes; None: with all else."""
        return self._intake.arena

    def _pending(self) -> int:
        return self._scheduler.accounts.unended_count + self._intake.count()

    async def join(self) -> None:
        """Wait, in the coordinator's loop, until every token has ended."""
        if not self._ended:
            await self._quiescence.join()
        self._voices.hear_all()

    def stats(self) -> dict[str, Any]:
        """The numbers of `get_stats`."""
        if not self._receiver.looking:
            self._supervisor.start_rest()  # of the processes, as the loop would any moment
        return stats(
            self._scheduler.snapshot(monotonic_ns()),
            self._intake.created(),
            self._supervisor,
            self._settings,
            self.arena,
            dropped=self._voices.dropped(),
        )
