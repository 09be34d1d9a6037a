"""When a core stays awake between two requests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tokengate_mp.worker.crew.spin import AWAKE_NS, STREAK, Spin


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now


def spins(clock: Clock, *lengths: int, lone: bool = True) -> Spin:
    """After spins of these lengths, ns, with one request between each two, or several."""
    spin = Spin(clock)
    for length in lengths:
        spin.begin_spin()
        clock.now += length
        spin.end_spin()
        spin.lone = lone
    return spin


def test_a_core_sleeps_at_first() -> None:
    """It has no reason to expect anything."""
    clock = Clock()
    assert not spins(clock, *[100] * (STREAK - 1)).begin_spin()


def test_after_short_spins_it_expects_another() -> None:
    """Somebody awaits one token after the other."""
    clock = Clock()
    assert spins(clock, *[100] * STREAK).begin_spin()


def test_it_sleeps_where_requests_come_in_numbers() -> None:
    """The parent is busy, and may need the CPU."""
    clock = Clock()
    assert not spins(clock, *[100] * STREAK, lone=False).begin_spin()


@given(st.lists(st.integers(0, 2 * AWAKE_NS), max_size=4 * STREAK))
def test_one_long_spin_is_the_end_of_it(lengths: list[int]) -> None:
    """So whoever stops awaiting costs a core `AWAKE_NS` once, and no more."""
    clock = Clock()
    short = [length < AWAKE_NS for length in lengths]
    expects = len(short) >= STREAK and all(short[-STREAK:])
    assert spins(clock, *lengths).begin_spin() is expects


def test_it_looks_until_there_is_something() -> None:
    """And gives way to others between two looks."""
    looks: Iterator[int] = count()
    given_way: list[int] = []
    spin = Spin(Clock(), lambda: given_way.append(1))
    spin.begin_spin()
    assert spin.stay_awake(lambda: next(looks) == 3)
    assert len(given_way) == 3


def test_it_does_not_look_for_ever() -> None:
    """It goes to sleep when its time is up."""
    clock = Clock()
    began = clock.now

    def give_way() -> None:
        clock.now += AWAKE_NS // 10

    spin = Spin(clock, give_way)
    spin.begin_spin()
    assert not spin.stay_awake(lambda: False)
    assert clock.now - began == AWAKE_NS
