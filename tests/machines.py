"""Hypothesis state machines whose examples have to have shown certain things."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from hypothesis import seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

ROUNDS = 10
"""After so many rounds of examples each thing has happened, however unlikely it is in one."""


def run_until_all(
    machine: type[RuleBasedStateMachine],
    ran: Counter[str],
    important: Iterable[str],
    chosen: settings,
) -> None:
    """Run rounds of examples until each important thing has happened.

    Args:
        machine: The machine.
        ran: How often each thing has happened: the machine counts.
        important: What has to have happened.
        chosen: The settings of a round.
    """
    ran.clear()
    for number in range(ROUNDS):
        start = number if chosen.derandomize else random.getrandbits(32)
        run_state_machine_as_test(seed(start)(machine), settings=chosen)
        missing = [what for what in important if not ran[what]]
        if not missing:
            break
    assert missing == []
