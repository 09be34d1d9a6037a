"""What a token costs does not depend on how many others wait."""

from __future__ import annotations

import pytest
from steps import steps
from tickets import Maker

from tokengate_mp.scheduling.scheduler import Scheduler

FEW, MANY = 100, 1_600


def scheduler_with(cores):
    """A scheduler all of whose cores are ready, and what makes tickets for it."""
    scheduler = Scheduler(cores, 4, "work_conserving")
    for core in range(1, cores + 1):
        scheduler.core_ready(core)
    return scheduler, Maker(scheduler)


@pytest.mark.parametrize("keys", ["one", "many"])
def test_killing_what_is_paused_costs_the_same_for_each_token(keys):
    """Of tokens with keys, each of which hands on the place of the first one of its key."""
    costs = []
    for count in (FEW, MANY):
        scheduler, make = scheduler_with(2)
        scheduler.pause("work")
        tickets = make(count=count)
        apart = 1 if keys == "one" else count // 2
        calls = [(each, b"%d" % (at % apart), 0) for at, each in enumerate(tickets)]
        scheduler.anchored(calls, 0)

        def kill(scheduler=scheduler, tickets=tickets):
            for ticket in tickets:
                scheduler.killed(ticket)

        costs.append(steps(kill) / count)
        scheduler.validate()
    assert max(costs) < 1.2 * min(costs), costs
