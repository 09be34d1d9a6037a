"""When a core's next process is started: any order of ends, against a model that keeps them all."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tokengate_mp.scheduling.policy.restart import (
    NEVER_UP,
    START_ATTEMPTS,
    START_PAUSE,
    GiveUp,
    RestartPolicy,
)


class RestartMachine(RuleBasedStateMachine):
    """Two cores, whose processes end in all ways; each has its own account."""

    @initialize(limit=st.integers(0, 4), period=st.sampled_from([1.0, 10.0]))
    def start(self, limit, period):
        self.limit, self.period = limit, period
        self.policy = RestartPolicy((1, 2), limit, period)
        self.now = 0.0
        self.not_up = {1: 0, 2: 0}
        self.vain = {1: [], 2: []}
        self.gone = set()

    def after(self, core, verdict):
        if isinstance(verdict, GiveUp):
            self.gone.add(core)
        else:
            assert 0 <= verdict <= self.period
            self.now += verdict

    @precondition(lambda self: len(self.gone) < 2)
    @rule(core=st.integers(1, 2), hopeless=st.sampled_from([False, False, True]))
    def does_not_come_up(self, core, hopeless):
        if core in self.gone:
            return
        self.not_up[core] += 1
        verdict = self.policy.not_started(core, hopeless=hopeless)
        if hopeless or self.not_up[core] >= START_ATTEMPTS:
            assert verdict == GiveUp(NEVER_UP)
        else:
            assert verdict == START_PAUSE * 2 ** (self.not_up[core] - 1)
        self.after(core, verdict)

    @rule(core=st.integers(1, 2))
    def comes_up(self, core):
        """As a successor that takes over, or is to be started at all."""
        if core not in self.gone:
            self.policy.came_up(core)
            self.not_up[core] = 0

    @rule(core=st.integers(1, 2), progress=st.booleans(), later=st.sampled_from([0.0, 0.3, 20.0]))
    def ends(self, core, progress, later):
        self.now += later
        if core in self.gone:
            return
        self.not_up[core] = 0
        verdict = self.policy.ready_ended(core, self.now, made_progress=progress)
        if progress:
            assert verdict == 0.0
            return
        self.vain[core].append(self.now)
        lately = sum(before > self.now - self.period for before in self.vain[core])
        assert isinstance(verdict, GiveUp) == (lately > self.limit)
        if isinstance(verdict, GiveUp):
            assert "restart_limit" in verdict.reason
        self.after(core, verdict)


TestRestarts = RestartMachine.TestCase
TestRestarts.__doc__ = (
    "A core is given up when its processes do not come up three times in a row, or end too often "
    "without progress within the period; what another core's processes do has no part in that."
)
TestRestarts.settings = settings(max_examples=100, stateful_step_count=30)
