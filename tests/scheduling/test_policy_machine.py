"""Time limits, runs after a failure, and holding tokens back, against a model of sets."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tickets import MS, FakeTicket

from tokengate_mp.config.options import Policy
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.policy.retry import pause
from tokengate_mp.scheduling.scheduler import Scheduler

CORES = 2
POISON = 2
POLICIES = [
    None,
    Policy(timeout_ns=5 * MS),
    Policy(retries=2),
    Policy(retries=1, retry_on=(OSError,), backoff_ns=3 * MS),
    Policy(idempotent=True),
    Policy(timeout_ns=20 * MS, retries=3, backoff_ns=MS, idempotent=True),
]
NAMES = ["work", "play"]


class PolicyMachine(RuleBasedStateMachine):
    """Facts in any order; a token ends exactly when its policy says so."""

    def __init__(self):
        super().__init__()
        self.scheduler = Scheduler(CORES, 2, "work_conserving", POISON)
        for core in range(1, CORES + 1):
            self.scheduler.core_ready(core)
        self.now = 0
        self.tickets = {}
        self.held = {core: {} for core in range(1, CORES + 1)}
        self.ended = {}
        self.until = {}  # when a token's pause is over
        self.used = Counter()
        self.deaths = Counter()
        self.fails = Counter()
        self.runs = Counter()
        self.paused = set()
        self.retried = 0

    def end(self, ticket, stage):
        assert ticket.number not in self.ended
        assert ticket.stage is stage
        self.ended[ticket.number] = stage
        self.until.pop(ticket.number, None)

    @rule(policy=st.sampled_from(POLICIES), name=st.sampled_from(NAMES), count=st.integers(1, 4))
    def call(self, policy, name, count):
        operation = self.scheduler.operations.declare(name, "medium", policy)
        made = [
            FakeTicket(len(self.tickets) + 1 + i, operation, created=self.now) for i in range(count)
        ]
        self.tickets.update((ticket.number, ticket) for ticket in made)
        self.scheduler.submitted(made)

    @rule(passed=st.sampled_from([1, MS, 4 * MS]))
    def tick(self, passed):
        self.now += passed
        overdue = self.scheduler.tick(self.now)
        for ticket in overdue:
            self.end(ticket, TokenState.TIMEOUT)
        for number, ticket in self.tickets.items():
            policy = ticket.operation.policy
            limit = policy and policy.timeout_ns
            if limit is not None and number not in self.ended:
                assert ticket.created + limit > self.now
        self.until = {n: at for n, at in self.until.items() if at > self.now}

    @rule()
    def assign(self):
        for core, sent in self.scheduler.assign(self.now).items():
            for ticket in sent:
                assert not self.scheduler.snapshot().paused
                assert ticket.operation.name not in self.paused
                assert ticket.number not in self.ended
                assert ticket.number not in self.until
                self.held[core][ticket.number] = ticket
                self.runs[ticket.number] += 1

    def failed(self, ticket, error, *, lost):
        """Whether it is run again, by its policy in the model's own words."""
        number, policy = ticket.number, ticket.operation.policy
        self.deaths[number] += lost
        self.fails[number] += 1
        again = False
        if policy is None or (lost and self.deaths[number] >= POISON):
            pass
        elif lost and policy.idempotent:
            again = True
        elif self.used[number] < policy.retries and isinstance(error, policy.retry_on):
            again = True
            self.used[number] += 1
            rest = pause(policy.backoff_ns, self.used[number], number)
            assert rest <= policy.backoff_ns * 2 ** (self.used[number] - 1)
            assert rest >= policy.backoff_ns * 2 ** (self.used[number] - 1) // 2
            if rest:
                self.until[number] = self.now + rest
        if again:
            self.retried += 1
            assert ticket.stage is TokenState.WAITING
        else:
            self.end(ticket, TokenState.FAILED)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), kind=st.sampled_from([ValueError, OSError, None]))
    def settle(self, data, kind):
        core = data.draw(st.sampled_from([c for c, held in self.held.items() if held]))
        ticket = data.draw(st.sampled_from(list(self.held[core].values())))
        was_ended = ticket.number in self.ended
        errors = {} if kind is None else {ticket.number: kind("so")}
        settled = self.scheduler.settle(core, [ticket.number], [MS], self.now, failed=errors)
        assert settled == [ticket]
        del self.held[core][ticket.number]
        if was_ended:
            assert ticket.stage is self.ended[ticket.number]
        elif kind is None:
            self.end(ticket, TokenState.COMPLETED)
        else:
            error = errors[ticket.number]
            self.failed(ticket, error, lost=False)
            if ticket.number in self.ended:
                notes = getattr(error, "__notes__", [])
                assert len(notes) == self.fails[ticket.number] - 1

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def drop(self, data):
        """The core has ended tokens that were ended here."""
        core = data.draw(st.sampled_from([c for c, held in self.held.items() if held]))
        dropped = [n for n in self.held[core] if n in self.ended]
        if dropped:
            self.scheduler.dropped(core, dropped)
            for number in dropped:
                del self.held[core][number]

    @rule(core=st.integers(1, CORES), data=st.data())
    def lose_core(self, core, data):
        held = self.held[core]
        running = data.draw(st.sets(st.sampled_from(sorted(held)), max_size=2)) if held else set()
        error = OSError("lost")
        lost = self.scheduler.core_lost(core, dict.fromkeys(running, error), self.now)
        self.held[core] = {}
        for number in sorted(running):
            if number not in self.ended:
                self.failed(held[number], error, lost=True)
        assert {t.number for t in lost} == {
            n for n in running if self.ended.get(n) is TokenState.FAILED and held[n] in lost
        }
        self.scheduler.core_ready(core)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        ticket = self.tickets[data.draw(st.integers(1, len(self.tickets)))]
        if self.scheduler.killed(ticket):
            self.end(ticket, TokenState.KILLED)

    @rule(paused=st.booleans())
    def admission(self, paused):
        (self.scheduler.pause_admission if paused else self.scheduler.resume_admission)()

    @rule(name=st.sampled_from(NAMES))
    def pause_operation(self, name):
        self.scheduler.pause(name)
        self.paused.add(name)

    @rule(name=st.sampled_from(NAMES))
    def resume_operation(self, name):
        self.scheduler.resume(name)
        self.paused.discard(name)

    @invariant()
    def everything_is_accounted_for(self):
        self.scheduler.validate()
        unended = {t.number for t in self.scheduler.accounts.unended()}
        assert unended == self.tickets.keys() - self.ended.keys()
        held = {n for mine in self.held.values() for n in mine}
        waiting = {t.number for t in self.scheduler.accounts.waiting_tickets()}
        assert waiting == unended - held
        trials = self.scheduler._retries.trials
        assert trials.keys() <= unended, "nothing is remembered of what has ended"
        for name, view in self.scheduler.snapshot().operations.items():
            assert view.paused is (name in self.paused)

    def teardown(self):
        """With everything resumed, every token comes to its end."""
        self.scheduler.resume_admission()
        for name in NAMES:
            self.resume_operation(name)
        scheduler, open_ = self.scheduler, {c: list(held) for c, held in self.held.items()}
        for _ in range(10_000):
            if not scheduler.accounts.unended_count:
                break
            self.now = max(self.now, scheduler.next_tick() or 0)
            scheduler.tick(self.now)
            for core, sent in scheduler.assign(self.now).items():
                open_[core] += [ticket.number for ticket in sent]
            for core, numbers in open_.items():
                scheduler.settle(core, numbers, [MS] * len(numbers), self.now)
                numbers.clear()
        assert not self.scheduler.accounts.unended_count
        assert len(self.scheduler._gate) == 0
        assert not self.scheduler._gate.postponed


PolicyMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPolicies = PolicyMachine.TestCase
