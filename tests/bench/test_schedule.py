from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengate_mp.bench.measuring.schedule import longest_first


def best(durations, cores):
    """Try every assignment of durations to cores."""
    ends = []
    for places in product(range(cores), repeat=len(durations)):
        loads = [0] * cores
        for duration, place in zip(durations, places, strict=True):
            loads[place] += duration
        ends.append(max(loads))
    return min(ends)


@pytest.mark.parametrize("cores", [1, 2, 3])
@given(long=st.integers(0, 3), short=st.integers(0, 4), factor=st.integers(2, 5))
def test_it_is_the_best_for_two_kinds(cores, long, short, factor):
    """No assignment ends earlier where the short duration divides the long one."""
    durations = [factor] * long + [1] * short
    expected = best(durations, cores) if durations else 0
    assert longest_first(durations, cores) == expected


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_it_is_never_far_from_the_best(durations, cores):
    """In general it is at least the best and at most 4/3 of it (Graham)."""
    optimum = best(durations, cores)
    assert optimum <= longest_first(durations, cores) <= 4 * optimum / 3


def test_the_benchmark_s_own_case():
    """10 of 100 ms and 190 of 1 ms fill two cores for 595 ms."""
    assert longest_first([100] * 10 + [1] * 190, 2) == 595
