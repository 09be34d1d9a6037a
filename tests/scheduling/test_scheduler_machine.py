"""The whole scheduler against a model that keeps plain lists."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tickets import MS, WEIGHTS, FakeTicket, homes, numbers

from tokengate_mp.config.options import Policy
from tokengate_mp.lifecycle import TokenState, path
from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.model.pacing import DEEP_NS, DEEPEST_NS, MAX_HELD, nearly_dry
from tokengate_mp.scheduling.model.weights import as_set
from tokengate_mp.scheduling.scheduler import Scheduler

DURATIONS = st.sampled_from([0, 1_000, 50_000, MS, 5 * MS, 40 * MS])
CALLS = st.lists(
    st.tuples(st.sampled_from(WEIGHTS), st.sampled_from("abx"), st.integers(1, 8)),
    min_size=1,
    max_size=6,
)
AT_ONCE = st.sampled_from([True, True, False])


class SchedulerMachine(RuleBasedStateMachine):
    @initialize(
        cores=st.integers(1, 5),
        threads=st.sampled_from([1, 4]),
        routing=st.sampled_from(["strict", "work_conserving"]),
        ready=st.booleans(),
    )
    def start(self, cores, threads, routing, ready):
        self.scheduler = Scheduler(cores, threads, routing)
        self.threads = threads
        self.cores = range(1, cores + 1)
        self.strict = routing == "strict"
        self.homes = homes(cores)
        self.now = self.away = 0
        self.tickets = {}
        self.created = []
        self.lanes = {weight: [] for weight in WEIGHTS}
        self.held = {core: [] for core in self.cores}
        self.ready = set()
        self.ended = {}
        self.asked = set()  # cores asked to give back since they were last sent or answered
        self.stuck = set()  # cores that gave back and have finished nothing since
        self.since = dict.fromkeys(self.cores, 0)  # when each last made progress
        for core in self.cores if ready else ():
            self.core_ready(core, at_once=False)

    # ---- the model's own words

    def may_serve(self, core):
        """The classes that may be sent to a core."""
        return [w for w in WEIGHTS if not self.strict or core in self.homes[w]]

    def end(self, ticket, state):
        """A token ends, once, in a way that the table of states knows."""
        assert ticket.number not in self.ended
        assert ticket.stage is state
        self.ended[ticket.number] = state

    def stays(self, ticket):
        """A token that had been killed: nothing ends it again."""
        assert ticket.stage is self.ended[ticket.number] is TokenState.KILLED

    def wait_again(self, returned):
        for number in sorted(returned, reverse=True):
            self.lanes[self.tickets[number].operation.weight].insert(0, number)

    def draw_held(self, data, *, least=1):
        core = data.draw(st.sampled_from([c for c in self.cores if len(self.held[c]) >= least]))
        order = data.draw(st.permutations(self.held[core]))
        return core, order[: data.draw(st.integers(least, len(order)))]

    # ---- facts

    @rule(calls=CALLS, at_once=AT_ONCE)
    def call(self, calls, at_once):
        for weight, name, count in calls:
            policy = Policy(exclusive=True) if name == "x" else None
            operation = self.scheduler.operations.declare(name, weight, policy)
            operation.divisible = name == "b"
            for _ in range(count):
                ticket = FakeTicket(len(self.tickets) + 1, operation)
                self.tickets[ticket.number] = ticket
                self.created.append(ticket)
        if at_once:
            self.submit(at_once)

    @rule(at_once=AT_ONCE)
    def submit(self, at_once):
        for ticket in self.created:
            if ticket.number not in self.ended:
                self.lanes[ticket.operation.weight].append(ticket.number)
        self.scheduler.submitted(self.created)
        self.created = []
        self.assign(at_once)

    @rule(core=st.integers(1, 5), at_once=AT_ONCE)
    def core_ready(self, core, at_once):
        if core in self.held and core not in self.ready:
            self.scheduler.core_ready(core)
            self.ready.add(core)
            self.assign(at_once)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), at_once=AT_ONCE)
    def settle(self, data, at_once):
        core, chosen = self.draw_held(data)
        durations = data.draw(st.lists(DURATIONS, min_size=len(chosen), max_size=len(chosen)))
        failed = data.draw(st.sets(st.sampled_from(chosen)))
        blocked = data.draw(st.sets(st.sampled_from(chosen)))
        self.settle_these(core, chosen, durations, failed, blocked)
        self.assign(at_once)

    def settle_these(self, core, chosen, durations, failed=(), blocked=()):
        settled = self.scheduler.settle(
            core,
            chosen,
            durations,
            self.now,
            failed=dict.fromkeys(failed, ValueError()),
            blocked=blocked,
        )
        assert numbers(settled) == list(chosen)
        for ticket in settled:
            self.held[core].remove(ticket.number)
            if ticket.number in self.ended:
                self.stays(ticket)
            else:
                raised = ticket.number in failed
                self.end(ticket, TokenState.FAILED if raised else TokenState.COMPLETED)
        self.asked.discard(core)
        self.stuck.discard(core)
        self.since[core] = self.now

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def answered_for_what_it_does_not_hold(self, data):
        core, chosen = self.draw_held(data)
        wrong = data.draw(st.sampled_from([0, len(self.tickets) + 1, chosen[0]]))
        held = set(self.held[core])
        with pytest.raises(KeyError):
            self.scheduler.settle(core, [*chosen, wrong], [MS] * (len(chosen) + 1), self.now)
        with pytest.raises(KeyError):
            self.scheduler.given_back(core, [*chosen, wrong])
        assert self.scheduler.snapshot().cores[core - 1].held == held

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), at_once=AT_ONCE)
    def give_back(self, data, at_once):
        core, chosen = self.draw_held(data)
        self.scheduler.given_back(core, chosen)
        self.held[core] = [n for n in self.held[core] if n not in chosen]
        self.wait_again(n for n in chosen if n not in self.ended)
        self.asked.discard(core)
        self.stuck.add(core)
        if not self.held[core]:
            self.stuck.discard(core)
        self.assign(at_once)

    @precondition(lambda self: self.ready)
    @rule(data=st.data(), at_once=AT_ONCE)
    def lose_core(self, data, at_once):
        core = data.draw(st.sampled_from(sorted(self.ready)))
        held = self.held[core]
        running = data.draw(st.sets(st.sampled_from(held))) if held else set()
        lost = self.scheduler.core_lost(core, dict.fromkeys(running, OSError()), self.now)
        assert set(numbers(lost)) == running - self.ended.keys()
        for ticket in lost:
            self.end(ticket, TokenState.FAILED)
        self.held[core] = []
        self.wait_again(n for n in held if n not in self.ended)
        self.ready.discard(core)
        self.asked.discard(core)
        self.stuck.discard(core)
        self.assign(at_once)

    @rule(core=st.integers(1, 5), running=st.integers(0, 4))
    def hungry(self, core, running):
        if core in self.held:
            # (A core may know of tokens that it has answered for by now.)
            self.scheduler.hungry(core, [*self.held[core][:running], 10**9])
            self.stuck.discard(core)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def kill(self, data):
        ticket = self.tickets[data.draw(st.integers(1, len(self.tickets)))]
        before = ticket.stage
        if self.scheduler.killed(ticket):
            assert path(before, TokenState.KILLED)
            self.end(ticket, TokenState.KILLED)
            if before is TokenState.WAITING:
                self.lanes[ticket.operation.weight].remove(ticket.number)
        else:
            assert ticket.stage is before is self.ended[ticket.number]

    @precondition(lambda self: not self.ready)
    @rule()
    def strand(self):
        waiting = {number for lane in self.lanes.values() for number in lane}
        stranded = self.scheduler.stranded()
        assert set(numbers(stranded)) == waiting
        for ticket in stranded:
            self.end(ticket, TokenState.FAILED)
        for lane in self.lanes.values():
            lane.clear()

    @rule(passed=st.sampled_from([1, MS, RECALL_NS]))
    def wait(self, passed):
        self.now += passed

    # ---- orders

    @rule(now=st.just(value=True))
    def assign(self, now):
        if not now:
            return
        orders = self.scheduler.assign(self.now)
        self.sent_from_the_front(orders)
        for core, sent in orders.items():
            assert core in self.ready - self.stuck
            assert sent
            assert {t.operation.weight for t in sent} <= set(self.may_serve(core))
            borrowed = [t for t in sent if core not in self.homes[t.operation.weight]]
            own = [weight for weight in WEIGHTS if core in self.homes[weight]]
            assert not (borrowed and any(self.lanes[weight] for weight in own))
            if not self.held[core]:
                self.since[core] = self.now
            self.held[core] += numbers(sent)
            self.asked.discard(core)
            self.holds_no_more_than_a_window(core)
        for core in self.ready:
            if not self.held[core]:
                assert not any(self.lanes[weight] for weight in self.may_serve(core))
        assert self.scheduler.assign(self.now) == {}

    def sent_from_the_front(self, orders):
        for weight, lane in self.lanes.items():
            per_core = [
                [t.number for t in sent if t.operation.weight == weight] for sent in orders.values()
            ]
            gone = {number for part in per_core for number in part}
            first = lane[: len(gone)]
            assert gone == set(first)
            for part in per_core:
                assert part == [number for number in first if number in part]
            del lane[: len(gone)]
        for core, sent in orders.items():
            for ticket in sent:
                assert ticket.stage is TokenState.ADMITTED
                assert (ticket.core, ticket.admitted) == (core, self.now)

    def holds_no_more_than_a_window(self, core):
        held = [self.tickets[number] for number in self.held[core]]
        assert len(held) <= MAX_HELD
        if len(held) > max(2, self.threads):
            costs = [ticket.cost for ticket in held]
            deep = min(DEEPEST_NS, max(DEEP_NS, self.away))
            assert sum(costs) <= deep or sum(costs[:-1]) <= nearly_dry(deep)

    @rule(beside=st.sets(st.integers(1, 5)), lasted=st.sampled_from([0, 10 * MS, 10**12]))
    def parent_busy(self, beside, lasted):
        self.scheduler.parent_busy(as_set(beside.intersection(self.cores)), lasted)
        self.away = max(self.away, lasted)  # what was sent by that stays sent

    @rule()
    def recall(self):
        possible = self.scheduler.could_recall()
        due = set(self.scheduler.overdue(self.now))
        idle = {core for core in self.ready if not self.held[core]}
        starving = {c for c in idle if not any(self.lanes[w] for w in self.may_serve(c))}
        for core in self.ready:
            slow = self.now - self.since[core] >= RECALL_NS
            more = map(self.reach, self.not_begun(core))
            if any(map(starving.intersection, more)) and core not in self.asked:
                assert possible
                assert core in due or not slow
        for core in due:
            assert possible
            assert starving
            assert core in self.ready - self.asked
            assert self.not_begun(core)
        self.asked |= due
        assert self.scheduler.overdue(self.now) == []

    def not_begun(self, core):
        """The tokens of a core that lie behind others, and those that it may have begun in part."""
        held = [self.tickets[number] for number in self.held[core]]
        return held[1:] + [ticket for ticket in held if ticket.operation.divisible]

    def reach(self, ticket):
        return self.homes[ticket.operation.weight] if self.strict else set(self.cores)

    # ---- what always holds

    @invariant()
    def valid(self):
        self.scheduler.validate()

    @invariant()
    def every_token_is_in_one_place(self):
        waiting = [number for lane in self.lanes.values() for number in lane]
        held = [n for mine in self.held.values() for n in mine if n not in self.ended]
        states = dict.fromkeys(numbers(self.created), TokenState.CREATED)
        states |= dict.fromkeys(waiting, TokenState.WAITING)
        states |= dict.fromkeys(held, TokenState.ADMITTED)
        states |= self.ended
        assert {n: ticket.stage for n, ticket in self.tickets.items()} == states
        assert numbers(self.scheduler.accounts.unended()) == sorted(waiting + held)
        assert self.scheduler.accounts.unended_count == len(waiting) + len(held)
        assert self.scheduler.accounts.waiting_count == len(waiting)
        assert self.scheduler.accounts.has_waiting or not waiting
        unended = {*waiting, *held}
        for number, ticket in self.tickets.items():
            assert self.scheduler.accounts.find(number) is (ticket if number in unended else None)
        assert self.scheduler.accounts.find(len(self.tickets) + 1) is None

    @invariant()
    def the_snapshot_adds_up(self):
        snapshot = self.scheduler.snapshot()
        ends = list(self.ended.values())
        assert snapshot.completed == ends.count(TokenState.COMPLETED)
        assert snapshot.failed == ends.count(TokenState.FAILED)
        assert snapshot.killed == ends.count(TokenState.KILLED)
        assert snapshot.timeout == 0
        assert snapshot.waiting + snapshot.admitted == self.scheduler.accounts.unended_count
        assert [set(view.held) for view in snapshot.cores] == [set(h) for h in self.held.values()]
        assert {view.core for view in snapshot.cores if view.ready} == self.ready
        views = snapshot.operations.values()
        assert sum(view.completed for view in views) == snapshot.completed
        assert sum(view.failed for view in views) == snapshot.failed
        assert sum(view.killed for view in views) == snapshot.killed

    @invariant()
    def stories_say_where_each_token_is(self):
        for lane in self.lanes.values():
            for ahead, number in enumerate(lane):
                story = self.scheduler.accounts.story(self.tickets[number])
                assert (story.stage, story.ahead, story.held) == (TokenState.WAITING, ahead, False)
        for core, held in self.held.items():
            for number in held:
                story = self.scheduler.accounts.story(self.tickets[number])
                assert (story.core, story.held, story.ahead) == (core, True, None)

    def teardown(self):
        if not hasattr(self, "scheduler"):
            return
        self.submit(at_once=False)
        for core in self.cores:
            self.core_ready(core, at_once=False)
        # At least one token ends at each turn.
        for _ in range(len(self.tickets) + 1):
            self.now += MS
            self.assign(now=True)
            for core, held in self.held.items():
                if held:
                    self.settle_these(core, held[:2], [MS] * len(held[:2]))
            self.valid()
        assert self.ended.keys() == self.tickets.keys()
        assert self.scheduler.accounts.unended_count == 0
        assert {view.held for view in self.scheduler.snapshot().cores} == {frozenset()}


TestScheduler = SchedulerMachine.TestCase
TestScheduler.__doc__ = (
    "Whatever happens in whatever order, every token is in one place, leaves its lane in turn, "
    "ends once, and no core that may serve a waiting token holds nothing."
)
TestScheduler.settings = settings(max_examples=40, stateful_step_count=30)
