"""Operations, of which calls in any thread may be the first."""

from __future__ import annotations

from tickets import MS, FakeTicket

from tokengate_mp.options import Policy
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.seeds import Lead


def submitted_at_once(policy: Policy) -> Scheduler:
    """A scheduler; a call in another thread has made a token as soon as its operation was there."""
    scheduler = Scheduler(1, 1, "work_conserving")

    class Found(dict):
        def setdefault(self, key, operation):
            found = super().setdefault(key, operation)
            scheduler.submitted([FakeTicket(1, scheduler.operation(*key))])
            return found

    scheduler._operations = Found()
    scheduler.operation("work", "medium", policy)
    return scheduler


def test_the_first_token_with_a_time_limit_has_it() -> None:
    """Also where another thread has only just made its operation known."""
    assert submitted_at_once(Policy(timeout_ns=5 * MS)).next_tick() == 5 * MS


def test_the_first_lead_has_a_chain() -> None:
    """In the same way."""
    assert submitted_at_once(Policy(lead=Lead("[]"))).snapshot(0).domains == 1
