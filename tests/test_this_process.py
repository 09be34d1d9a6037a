"""What a process is: the one place that says which coordinator runs, or which core is served."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from tokengate_mp import this_process

STATE = ("core", "arena", "calls", "coordinator", "intake", "control", "finder", "_abandon")


@pytest.fixture(autouse=True)
def put_back():
    """Leave the process as it was."""
    before = {name: getattr(this_process, name) for name in STATE}
    yield
    vars(this_process).update(before)


def is_state(**expected):
    """Whether everything is None but for these."""
    found = {name: getattr(this_process, name) for name in STATE if name != "_abandon"}
    return found == {**dict.fromkeys(found), **expected}


def test_a_coordinator_is_opened_and_closed_in_one_call_each():
    """Nothing of it is left, and nothing of it is there before."""
    assert is_state()
    this_process.open_coordinator("intake", "control", "finder")
    assert is_state(intake="intake", control="control", finder="finder")
    this_process.close_coordinator("intake")
    assert is_state()


def test_one_that_ends_late_does_not_close_the_next():
    """What was opened for another coordinator meanwhile stays."""
    this_process.open_coordinator("first", "control", "finder")
    this_process.open_coordinator("second", "control", "finder")
    this_process.close_coordinator("first")
    assert is_state(intake="second", control="control", finder="finder")


def test_a_core_process_is_opened_before_its_calls():
    """An initializer runs in between: in a core process, which takes no calls yet."""
    this_process.open_core(3, "arena")
    assert is_state(core=3, arena="arena")
    calls = SimpleNamespace(refer="finder")
    this_process.open_calls(calls)
    assert is_state(core=3, arena="arena", calls=calls, finder="finder")


def test_a_fork_has_no_coordinator():
    """It forgets that of its parent, and lets that one know; what had ended can be looked at."""
    told = []
    with this_process.claiming:
        this_process.claim("coordinator", lambda: told.append(os.getpid()))
    this_process.open_coordinator("intake", "control", "finder")
    this_process._part_after_fork()
    assert is_state(finder="finder")
    assert told == [os.getpid()]
    this_process._part_after_fork()
    assert len(told) == 1
