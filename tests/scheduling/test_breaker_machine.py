"""The circuit breaker of an operation, against a model that keeps every end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tickets import MS, FakeTicket

from tokengate_mp import CircuitBreaker
from tokengate_mp.config.options import Policy
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.breaker import (
    SLICES,
    TRANSITIONS,
    BreakerState,
    Event,
    Window,
)
from tokengate_mp.scheduling.scheduler import Scheduler

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
SECOND = 1_000_000_000


class BreakerMachine(RuleBasedStateMachine):
    """Calls, ends and time in any order; the scheduler tells the breaker, and so does the model."""

    @initialize(
        share=st.sampled_from([0.1, 0.5, 1.0]),
        minimum=st.integers(1, 4),
        probes=st.integers(1, 3),
        retries=st.integers(0, 1),
    )
    def start(self, share, minimum, probes, retries):
        # (The window is so long that nothing leaves it: `Window` has tests of its own.)
        self.settings = CircuitBreaker(share, 1e6, minimum, pause=2.0, probes=probes)
        self.scheduler = Scheduler(2, 2, "work_conserving")
        policy = Policy(breaker=self.settings, retries=retries, timeout_ns=30 * SECOND)
        self.operation = self.scheduler.operations.declare("guarded", "medium", policy)
        self.free = self.scheduler.operations.declare("free", "medium")
        self.retries = retries
        self.breaker = self.operation.breaker
        self.now = 0
        self.tickets = []
        self.runs = {}
        self.held = {1: [], 2: []}
        self.state = CLOSED
        self.ends = []
        self.until = None
        self.probing = set()
        self.passed = 0
        for core in (1, 2):
            self.scheduler.core_ready(core)

    def open(self):
        self.state, self.until = OPEN, self.now + 2 * SECOND
        self.probing = set()

    def ended(self, number, *, failed):
        """A token has ended, in the model's own words."""
        if self.state is CLOSED:
            self.ends.append(failed)
            bad = sum(self.ends)
            enough = len(self.ends) >= self.settings.minimum
            if failed and enough and bad >= self.settings.failure_share * len(self.ends):
                self.open()
        elif self.state is HALF_OPEN and number in self.probing:
            self.probing.discard(number)
            if failed:
                self.open()
            else:
                self.passed += 1
                if self.passed == self.settings.probes:
                    self.state, self.ends = CLOSED, []

    @rule(count=st.integers(1, 4), guarded=st.booleans())
    def call(self, count, guarded):
        for _ in range(count):
            number = len(self.tickets) + 1
            if guarded:
                if self.state is OPEN and self.now >= self.until:
                    self.state, self.passed = HALF_OPEN, 0
                places = self.settings.probes - self.passed - len(self.probing)
                expected = self.state is CLOSED or (self.state is HALF_OPEN and places > 0)
                breakers = self.scheduler.operations.breakers
                assert breakers.admit_call(number, self.operation, self.now) is expected
                if not expected:
                    continue
                if self.state is HALF_OPEN:
                    self.probing.add(number)
            operation = self.operation if guarded else self.free
            self.tickets.append(FakeTicket(number, operation, created=self.now))
            self.scheduler.submitted([self.tickets[-1]])

    @rule()
    def assign(self):
        for core, sent in self.scheduler.assign(self.now).items():
            self.held[core] += [ticket.number for ticket in sent]

    def again(self, number):
        self.runs[number] = self.runs.get(number, 0) + 1
        return self.runs[number] <= self.retries

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), failed=st.booleans())
    def settle(self, data, failed):
        core = data.draw(st.sampled_from([c for c in self.held if self.held[c]]))
        number = data.draw(st.sampled_from(self.held[core]))
        self.held[core].remove(number)
        ticket = self.tickets[number - 1]
        unended = not ticket.stage.ended
        errors = {number: ValueError()} if failed else {}
        self.scheduler.settle(core, [number], [MS], self.now, failed=errors)
        if unended and ticket.operation is self.operation and not (failed and self.again(number)):
            self.ended(number, failed=failed)
        self.end_blocked()

    @rule(core=st.integers(1, 2), data=st.data())
    def lose_core(self, core, data):
        held = self.held[core]
        running = data.draw(st.sets(st.sampled_from(held), max_size=2)) if held else set()
        waiting = {n for n in running if not self.tickets[n - 1].stage.ended}
        errors = dict.fromkeys(running, OSError())
        self.scheduler.core_lost(core, errors, self.now)
        self.held[core] = []
        self.scheduler.core_ready(core)
        for number in held:
            ticket = self.tickets[number - 1]
            if number in waiting and ticket.operation is self.operation:
                again = self.again(number) and ticket.stage is TokenState.WAITING
                if not again and ticket.stage is TokenState.FAILED:
                    self.ended(number, failed=True)
        self.end_blocked()

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        ticket = data.draw(st.sampled_from(self.tickets))
        if self.scheduler.killed(ticket):
            self.probing.discard(ticket.number)

    @rule(passed=st.sampled_from([MS, SECOND, 10 * SECOND]))
    def tick(self, passed):
        self.now += passed
        for ticket in self.scheduler.tick(self.now):
            self.ended(ticket.number, failed=True)
        self.end_blocked()

    @rule()
    def reset(self):
        shut = self.state is not CLOSED
        assert self.scheduler.operations.breakers.close_breaker("guarded") is shut
        self.state, self.ends, self.probing = CLOSED, [], set()

    def end_blocked(self):
        """What the coordinator does before it sends anything."""
        ended = self.scheduler.take_blocked()
        assert all(ticket.operation is self.operation for ticket in ended)
        if self.state is OPEN:
            waiting = self.scheduler.accounts.waiting_tickets("guarded")
            assert not ended or not waiting
        else:
            assert not ended

    @invariant()
    def as_the_model_says(self):
        if hasattr(self, "scheduler"):
            self.scheduler.validate()
            view = self.scheduler.snapshot(self.now).operations["guarded"].breaker
            assert self.breaker.state is view.state is self.state
            if self.state is CLOSED:
                assert (view.ended, view.failed) == (len(self.ends), sum(self.ends))
            if self.state is OPEN:
                assert view.left == max(0, self.until - self.now)
            if self.state is HALF_OPEN:
                assert self.breaker.probes == self.probing


TestBreaker = BreakerMachine.TestCase
TestBreaker.__doc__ = (
    "Whatever happens in whatever order, a breaker opens with the share of failures that it was "
    "given, ends what waits, and closes when its probes have completed."
)
TestBreaker.settings = settings(max_examples=80, stateful_step_count=40)


def test_the_table_has_a_way_out_of_every_state():
    """From each state there is a way to every other one, and a reset closes it from anywhere."""
    for state in BreakerState:
        assert TRANSITIONS[state, Event.RESET] is CLOSED
        reached = {state}
        for _ in BreakerState:
            reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
        assert reached == set(BreakerState)


@pytest.mark.parametrize("span", [16, 1000, 30 * SECOND])
def test_a_window_forgets_what_is_older_than_it(span):
    """It counts all that is younger than its span, and nothing older but what a slice holds."""
    window = Window(span)
    ends = [(now * max(1, span // 7), now % 3 == 0) for now in range(100)]
    for at, (now, failed) in enumerate(ends):
        window.count_end(now, failed=failed)
        slack = max(1, span // SLICES)
        least = [bad for then, bad in ends[: at + 1] if then > now - span + slack]
        most = [bad for then, bad in ends[: at + 1] if then > now - span - slack]
        assert len(least) <= window.ended <= len(most)
        assert sum(least) <= window.failed <= sum(most)
    window.slide(ends[-1][0] + 2 * span + 32)
    assert (window.ended, window.failed) == (0, 0)
