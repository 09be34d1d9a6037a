"""What the scheduler is told of a burst of calls."""

from __future__ import annotations

import pytest

from tokengate_mp.engine.outbound import burst
from tokengate_mp.engine.outbound.burst import Burst


@pytest.fixture
def told() -> list[tuple[int, int]]:
    """What it was told: cores, as bits, and ns."""
    return []


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The CPU on which this thread seems to run, in place 0."""
    cpu = [0]
    monkeypatch.setattr(burst, "current_cpu", lambda: cpu[0])
    return cpu


def call(one: Burst, now: int) -> None:
    """A call is made."""
    one.look(now)
    one.goes_on = True


def test_one_call_is_no_burst(told: list[tuple[int, int]], cpu: list[int]) -> None:
    """Nor is one after the other, with the loop between them."""
    one = Burst([0, 1], lambda *what: told.append(what))
    for now in (5, 10):
        call(one, now)
        one.end()
    assert cpu
    assert told == []


def test_a_burst_is_told_of_until_it_is_over(told: list[tuple[int, int]], cpu: list[int]) -> None:
    """Which cores are on its CPU, by then, and for how long it has lasted; and that it is over."""
    one = Burst([0, 1, 1], lambda *what: told.append(what))
    call(one, 1000)
    call(one, 1500)
    cpu[0] = 1
    call(one, 1700)
    one.end()
    one.end()
    call(one, 5000)
    call(one, 5001)
    assert told == [(0b010, 500), (0b1100, 700), (0, 0), (0b1100, 1)]


def test_where_nobody_knows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, told: list[tuple[int, int]]
) -> None:
    """On macOS, for one: no core is on it."""
    monkeypatch.setattr(burst, "current_cpu", None)
    one = Burst([None, None], lambda *what: told.append(what))
    call(one, 1000)
    call(one, 3000)
    assert told == [(0, 2000)]
