"""A discrete-event simulation of core processes, driven by a real scheduler.

A core runs its tokens one after the other and rings as the crew does: when it has run dry, at the
first end of a token after 2 ms, and before a token that takes longer. What either side sends
arrives `DELAY` later. There is no chance and no clock in it: the same tokens give the same run.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count

from tickets import WEIGHTS, FakeTicket, homes

from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.scheduler import Scheduler

DELAY = 100_000
COALESCE = 2_000_000


class SimulatedCore:
    """One core process.

    Attributes:
        queue: What it was sent and has not begun.
        chunk: What it runs until it next rings: numbers and durations.
        dry: Since when it has had nothing to run, or None.
        waited_then: For how long tokens had been waiting in the parent by then, in all.
    """

    __slots__ = ("chunk", "dry", "queue", "waited_then")

    def __init__(self):
        self.queue = deque()
        self.chunk = ([], [])
        self.dry = 0
        self.waited_then = 0


class Simulation:
    """So many cores and the parent.

    Attributes:
        now: Simulated time, ns.
        busy: Time that the cores have spent running tokens, ns, in all.
        lost: For how long cores were dry while tokens waited, ns, in all.
        longest_gap: The longest such time of one core in one piece, ns.
        recalls: How often a core was asked to give back.
        idle_beside_waiting: Orders after which a core held nothing while tokens it may run waited.
    """

    def __init__(self, cores, routing="work_conserving", durations=None):
        self.scheduler = Scheduler(cores, 4, routing)
        self.cores = {core: SimulatedCore() for core in range(1, cores + 1)}
        self.durations = durations or {}
        self.now = self.busy = self.lost = self.longest_gap = self.idle_beside_waiting = 0
        self.recalls = 0
        strict = routing == "strict"
        self._may_run = {  # as bits, a core each
            weight: sum(1 << core for core in (home if strict else self.cores))
            for weight, home in homes(cores).items()
        }
        self._made = 0
        self._events = []
        self._sequence = count()
        self._waited = 0
        self._waiting_since = None
        self._recall_set = False
        for core in self.cores:
            self.scheduler.core_ready(core)

    def at(self, time, what, *arguments):
        """Let something happen."""
        heapq.heappush(self._events, (time, next(self._sequence), what, arguments))

    def call_at(self, time, calls):
        """Let tokens be made: pairs of an operation and how long it will run."""
        self.at(time, self._called, calls)

    def run(self, until=None):
        """Go on until nothing happens any more, or until a time."""
        events = self._events
        while events and (until is None or events[0][0] <= until):
            self.now, _, what, arguments = heapq.heappop(events)
            what(*arguments)

    # ---- the parent

    def _called(self, calls):
        first = self._made + 1
        tickets = []
        for number, (operation, duration) in enumerate(calls, first):
            tickets.append(FakeTicket(number, operation))
            self.durations[number] = duration
        self._made += len(tickets)
        self.scheduler.submitted(tickets)
        self._order()

    def _heard(self, core, chunk):
        self.scheduler.settle(core, *chunk, self.now)
        self._order()

    def _returned(self, core, numbers):
        self.scheduler.given_back(core, numbers)
        self._order()

    def _order(self):
        scheduler = self.scheduler
        for core, sent in scheduler.assign(self.now).items():
            self.at(self.now + DELAY, self._arrived, core, [ticket.number for ticket in sent])
        waiting = scheduler.accounts.waiting_count > 0
        if waiting:
            lanes = scheduler._gate.lanes
            wanted = [self._may_run[weight] for weight in WEIGHTS if lanes[weight]]
            idle = scheduler._ledger.idle
            self.idle_beside_waiting += any(idle & cores for cores in wanted)
        if waiting != (self._waiting_since is not None):
            self._waited = self._waited_by_now()
            self._waiting_since = self.now if waiting else None
        if not self._recall_set and scheduler.could_recall():
            self._recall_set = True
            self.at(self.now + RECALL_NS, self._recall)

    def _recall(self):
        self._recall_set = False
        for core in self.scheduler.overdue(self.now):
            self.recalls += 1
            self.at(self.now + DELAY, self._asked_back, core)
        self._order()

    def _waited_by_now(self):
        since = self._waiting_since
        return self._waited + (0 if since is None else self.now - since)

    # ---- the cores

    def _arrived(self, core, numbers):
        state = self.cores[core]
        state.queue.extend(numbers)
        if state.dry is not None:
            gap = self._waited_by_now() - state.waited_then
            self.lost += gap
            self.longest_gap = max(self.longest_gap, gap)
            state.dry = None
            self._begin(core, state)

    def _begin(self, core, state):
        numbers, durations = state.chunk = ([], [])
        queue, known = state.queue, self.durations
        spent = 0
        while queue and spent < COALESCE:
            duration = known[queue[0]]
            if numbers and duration > COALESCE:
                break
            number = queue.popleft()
            del known[number]
            numbers.append(number)
            durations.append(duration)
            spent += duration
        self.busy += spent
        self.at(self.now + spent, self._rang, core)

    def _rang(self, core):
        state = self.cores[core]
        self.at(self.now + DELAY, self._heard, core, state.chunk)
        if state.queue:
            self._begin(core, state)
        else:
            state.chunk = ([], [])
            state.dry = self.now
            state.waited_then = self._waited_by_now()

    def _asked_back(self, core):
        state = self.cores[core]
        numbers = list(state.queue)
        state.queue.clear()
        if numbers:
            self.at(self.now + DELAY, self._returned, core, numbers)
