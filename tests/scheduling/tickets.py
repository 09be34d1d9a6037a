"""Tokens as the scheduler's tests make them, and the specified ranges in the tests' own words."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokengate_mp.config.options import Policy
from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.model.operation import Operation

WEIGHTS = ("light", "medium", "heavy")
MS = 1_000_000


@dataclass(slots=True, weakref_slot=True, eq=False)
class FakeTicket:
    """A token without a future."""

    number: int
    operation: Operation
    stage: TokenState = TokenState.CREATED
    core: int | None = None
    cost: int = 0
    admitted: int = 0
    created: int = 0


@dataclass(slots=True, eq=False)
class FakeNestedTicket(FakeTicket):
    """A token that was made inside another, without a future."""

    dependencies: list[FakeTicket] = field(default_factory=list)
    visible: bool = False


class Maker:
    """Numbers tickets as the decorator numbers calls."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.made = 0

    def __call__(self, weight="medium", name="work", count=1):
        """Make tickets of one operation; those of "alone" are exclusive."""
        policy = Policy(exclusive=True) if name == "alone" else None
        operation = self.scheduler.operations.declare(name, weight, policy)
        self.made += count
        return [FakeTicket(self.made - count + 1 + i, operation) for i in range(count)]

    def submit(self, weight="medium", name="work", count=1):
        """Make tickets of one operation and submit them."""
        tickets = self(weight, name, count)
        self.scheduler.submitted(tickets)
        return tickets


def measured(maker, duration, weight="medium", name="work", *, blocked=False):
    """Let the scheduler see one run of an operation, which takes it from unknown to measured."""
    (ticket,) = maker.submit(weight, name)
    (sent,) = maker.scheduler.assign(0).values()
    assert sent == [ticket]
    number = [ticket.number]
    maker.scheduler.settle(ticket.core, number, [duration], 0, blocked=number if blocked else ())


def homes(cores):
    """The range of each class as the specification has it: from core 3, from core 2, all."""
    return {
        "light": set(range(min(3, cores), cores + 1)),
        "medium": set(range(min(2, cores), cores + 1)),
        "heavy": set(range(1, cores + 1)),
    }


def numbers(tickets):
    """Their numbers, in order."""
    return [ticket.number for ticket in tickets]


def held_by(scheduler, seat):
    """The tickets that the process on a seat holds, by number."""
    return scheduler._ledger[seat].held
