"""When a core process rings for its outcomes, and when its watchdog does."""

from __future__ import annotations

from time import monotonic_ns
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokengate_mp.wire.channel.mailbox import LOOKED, RUNNING
from tokengate_mp.wire.protocol.control import PATIENT_NS
from tokengate_mp.worker.crew import watchdog
from tokengate_mp.worker.crew.wake_up import AMPLE_NS, COALESCE_NS, WakeUp

MS = 1_000_000
RUNG = 10**12
"""The bell was rung then, monotonic ns."""


def rung_bell(*, looked: int = 0) -> WakeUp:
    """A bell that was rung at `RUNG`; the parent has looked at that time."""
    words = memoryview(bytearray(8 * (RUNNING + 1))).cast("Q")
    words[LOOKED] = looked
    bell = WakeUp(words)
    bell.restart_wait(RUNG)
    return bell


def test_a_bell_waits_a_while_whatever_is_ahead() -> None:
    """Outcomes of short tokens are rung for together."""
    assert rung_bell().due == RUNG + COALESCE_NS


def test_with_ample_work_ahead_a_bell_waits_longer() -> None:
    """And with little, it does not."""
    now = RUNG + COALESCE_NS + 1
    assert rung_bell().can_wait(now, ahead=100, last=MS)
    assert not rung_bell().can_wait(now, ahead=5, last=MS)
    assert not rung_bell().can_wait(now, ahead=0, last=1000 * MS)


def test_no_bell_waits_for_ever() -> None:
    """However much work is ahead."""
    assert not rung_bell().can_wait(RUNG + PATIENT_NS + 1, ahead=1000, last=MS)


def test_a_look_of_the_parent_is_as_good_as_a_ring() -> None:
    """Another core had rung, and the parent has taken up what all have."""
    looked = RUNG + 40 * MS
    bell = rung_bell(looked=looked)
    assert bell.can_wait(looked + COALESCE_NS, ahead=0, last=0)
    assert bell.can_wait(looked + PATIENT_NS - 1, ahead=100, last=MS)
    assert bell.due == looked + PATIENT_NS


@given(
    later=st.integers(COALESCE_NS + 1, 2 * PATIENT_NS),
    ahead=st.integers(0, 4096),
    last=st.integers(0, 100 * MS),
)
def test_a_bell_that_can_wait_is_asked_again_in_time(later: int, ahead: int, last: int) -> None:
    """Before it has waited for too long, and before three quarters of what is to spare are gone.

    So should the tokens that come next take a quarter of the time, the core still has work left
    when it rings.
    """
    bell, now = rung_bell(), RUNG + later
    if bell.can_wait(now, ahead, last):
        assert now <= bell.due <= RUNG + PATIENT_NS
        assert (bell.due - now) * 4 <= ahead * last - AMPLE_NS
    else:
        assert later > PATIENT_NS or ahead * min(last, COALESCE_NS) < AMPLE_NS


def test_after_one_long_token_a_bell_is_asked_again_soon() -> None:
    """The others may be short: what they leave of the time is not counted on."""
    bell, now = rung_bell(), RUNG + COALESCE_NS + 1
    assert bell.can_wait(now, ahead=10, last=100 * MS)
    assert bell.due - now <= 10 * COALESCE_NS // 4


@pytest.mark.parametrize(
    ("running", "due", "rings"),
    [
        pytest.param([7], 3600 * 10**9, False, id="the crew will come to it"),
        pytest.param([7], -1, True, id="the token turned out long"),
        pytest.param([], 3600 * 10**9, True, id="nothing runs"),
    ],
)
def test_the_watchdog_rings_only_for_what_cannot_wait(
    monkeypatch: pytest.MonkeyPatch, running: list[int], due: int, rings: bool
) -> None:
    """A wake of the parent that the crew has put off is not brought forward by a look at it."""
    # (The real one keeps a file for each thread.)
    monkeypatch.setattr(watchdog, "starved_ns", lambda _thread: 0)
    bell = rung_bell()
    bell.due = monotonic_ns() + due
    rung: list[int] = []
    crew: Any = SimpleNamespace(
        outgoing=SimpleNamespace(unrung=True, published=0),
        reporter=SimpleNamespace(wake_up=bell, ring_parent=rung.append),
        mailbox=SimpleNamespace(words=[0] * (RUNNING + 1), running_tokens=lambda: running),
        inbox=SimpleNamespace(has_mail=lambda: False),
        run_slot=SimpleNamespace(holder=0, kept=False),
        natives={},
        interrupts=SimpleNamespace(postponed=[]),
        threads=1,
    )
    watchdog.Watchdog(crew).look_at_crew()
    assert bool(rung) is rings
