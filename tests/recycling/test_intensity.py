"""The rules by which a core's processes are started again, and replaced while they are well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengate_mp.scheduling.policy.recycling import is_nearly_used
from tokengate_mp.scheduling.policy.restart_intensity import Intensity

LIMITS = st.integers(0, 12)
PERIODS = st.floats(0.1, 100.0)
GAPS = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40)


def ends(gaps):
    """Times that are so far apart."""
    now = 0.0
    for gap in gaps:
        now += gap
        yield now


@given(limit=LIMITS, period=PERIODS, gaps=GAPS)
def test_given_up_exactly_when_more_than_the_limit_fall_into_a_period(limit, period, gaps):
    """However they are spread, and whatever was before."""
    rule = Intensity(limit, period)
    seen = []
    for now in ends(gaps):
        seen.append(now)
        lately = sum(before > now - period for before in seen)
        assert (rule.end_without_progress(now) is None) == (lately > limit)


@given(limit=LIMITS, period=PERIODS)
def test_a_core_whose_processes_end_at_once_is_given_up_within_the_period(limit, period):
    """The first is replaced at once, each pause is no shorter than the last, and all fit in."""
    rule = Intensity(limit, period)
    now, pauses = 0.0, []
    while (pause := rule.end_without_progress(now)) is not None:
        pauses.append(pause)
        now += pause
    assert len(pauses) == limit
    assert pauses == sorted(pauses)
    assert pauses[:1] in ([], [0.0])
    assert now <= period / 2


@given(limit=st.integers(1, 12), period=PERIODS, count=st.integers(1, 50))
def test_a_core_whose_processes_end_now_and_then_is_never_given_up(limit, period, count):
    """Ends that are more than a period apart are each the first, and cost no pause."""
    rule = Intensity(limit, period)
    assert {rule.end_without_progress(n * period * 1.01) for n in range(count)} == {0.0}


@given(
    answered=st.integers(0, 1000),
    limit=st.integers(1, 1000),
    age=st.integers(0, 10**12),
    lead=st.integers(0, 10**10),
)
def test_a_successor_is_started_ahead(answered, limit, age, lead):
    """At the limit at the latest; before, if by the pace so far it is but twice the lead away."""
    due = is_nearly_used(answered, limit, age, lead)
    if answered >= limit:
        assert due
    elif not answered:
        assert not due
    else:
        assert due == ((limit - answered) * age <= 2 * lead * answered)
        if due:  # and from then on it stays so
            assert is_nearly_used(answered + 1, limit, age, lead)


@pytest.mark.parametrize(("answered", "due"), [(1, False), (49, False), (51, True), (99, True)])
def test_of_a_hundred_tokens_at_one_a_ms(answered, due):
    """With a lead of 25 ms the successor is started when 50 are left."""
    ms = 1_000_000
    assert is_nearly_used(answered, 100, answered * ms, 25 * ms) is due
