"""Operations, of which calls in any thread may be the first."""

from __future__ import annotations

from tickets import MS, FakeTicket

from tokengate_mp.config.options import Policy
from tokengate_mp.config.seeds import Lead
from tokengate_mp.scheduling.scheduler import Scheduler


class Busy(str):
    """A name that does something whenever it is looked at, once `act` is set."""

    __slots__ = ("act",)

    def __hash__(self) -> int:
        act = getattr(self, "act", None)
        if act is not None:
            act()
        return super().__hash__()


def submitted_at_once(policy: Policy) -> Scheduler:
    """A scheduler; a call in another thread has made a token as soon as its operation was there."""
    scheduler = Scheduler(1, 1, "work_conserving")

    class Found(dict):
        def setdefault(self, key, operation):
            found = super().setdefault(key, operation)
            scheduler.submitted([FakeTicket(1, scheduler.operations.declare(*key))])
            return found

    scheduler.operations._by_key = Found()
    scheduler.operations.declare("work", "medium", policy)
    return scheduler


def test_the_first_token_with_a_time_limit_has_it() -> None:
    """Also where another thread has only just made its operation known."""
    assert submitted_at_once(Policy(timeout_ns=5 * MS)).next_tick() == 5 * MS


def test_the_first_lead_has_a_chain() -> None:
    """In the same way."""
    assert submitted_at_once(Policy(lead=Lead("[]"))).snapshot(0).chains == 1


def test_statistics_are_made_while_operations_come() -> None:
    """Another thread may make the first call of one in the middle of it."""
    scheduler = Scheduler(1, 1, "work_conserving")
    name = Busy("first")
    scheduler.operations.declare(name, "medium")
    scheduler.operations.declare("second", "medium")
    name.act = lambda: scheduler.operations.declare("third", "medium")
    assert scheduler.snapshot(0).operations.keys() == {"first", "second"}
    assert scheduler.snapshot(0).operations.keys() == {"first", "second", "third"}


def test_statistics_are_made_while_tags_come() -> None:
    """Another thread may make the first call of a function with other tags."""
    scheduler = Scheduler(1, 1, "work_conserving")
    tags = scheduler.operations.declare("work", "medium").tags
    tag = Busy("team")
    tags[tag] = "a"
    tags["stage"] = "b"
    tag.act = lambda: tags.update(new="c")
    assert scheduler.snapshot(0).operations["work"].tags == {"team": "a", "stage": "b"}
    assert tags["new"] == "c"
