"""Frozen views of the scheduler, for observers.

A snapshot may be taken in any thread, at any moment: it consists of reads of single attributes, and
of copies of collections that one call of C code makes. So it changes nothing, waits for nobody, and
is not disturbed by changes meanwhile. In the engine's thread its counts add up; in another thread
they may be off by the tokens that moved while it was taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokengate_mp.lifecycle import TokenState
from tokengate_mp.scheduling.cores.ledger import Ledger
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.model.operation_view import OperationView, operation_views
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.nested.conductor import Conductor
from tokengate_mp.scheduling.waiting.gate import Gate


@dataclass(frozen=True, slots=True)
class CoreView:
    """Counts of a core.

    Attributes:
        core: Its number, from 1.
        ready: Whether its process takes tokens.
        held: The numbers of the tokens that the core was sent and has not answered for, tokens that
            were killed meanwhile among them.
        ended: The held tokens that have ended: they take the core's time all the same.
        answered: Outcomes so far, over all processes of the core.
    """

    core: int
    ready: bool
    held: frozenset[int]
    ended: frozenset[int]
    answered: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All counts at some moment.

    Attributes:
        waiting: Tokens in the lanes, held back, or in a pause between two runs.
        admitted: Tokens that were sent to a core, executing ones included.
        completed: Tokens whose function returned.
        failed: Tokens whose function raised, or that were lost with their core process.
        killed: Tokens ended on request.
        timeout: Tokens whose time was up.
        paused: Whether no token is assigned.
        chains: Chains that have tokens.
        cores: Every core, core 1 first.
        operations: Every operation type, by name.
        pins: Keys that are pinned to a core.
    """

    waiting: int
    admitted: int
    completed: int
    failed: int
    killed: int
    timeout: int
    paused: bool
    chains: int
    cores: tuple[CoreView, ...]
    operations: Mapping[str, OperationView]
    pins: int


@dataclass(frozen=True, slots=True)
class TicketStory:
    """The history of a token so far.

    Attributes:
        number: Its number.
        operation: Its operation_type.
        stage: Its state as recorded by the scheduler.
        core: The core it was last sent to; None before.
        admitted: When that was, ns; None before.
        held: Whether that core has yet to answer for it.
        ahead: How many tokens will leave the lane before this token; None if it does not wait.
    """

    number: int
    operation: str
    stage: TokenState
    core: int | None
    admitted: int | None
    held: bool
    ahead: int | None


def take_snapshot(  # noqa: PLR0913 - everything that is counted
    gate: Gate,
    ledger: Ledger,
    operations: Iterable[Operation],
    conductor: Conductor,
    *,
    paused: bool,
    now: int = 0,
) -> Snapshot:
    """Take a snapshot of all counts; in any thread."""
    ended = ledger.ended
    cores = _core_views(ledger)
    return Snapshot(
        waiting=gate.count_waiting() + len(conductor.held),
        admitted=sum(len(view.held) - len(view.ended) for view in cores),
        completed=ended[TokenState.COMPLETED],
        failed=ended[TokenState.FAILED],
        killed=ended[TokenState.KILLED],
        timeout=ended[TokenState.TIMEOUT],
        paused=paused,
        chains=len(conductor.chains),
        cores=cores,
        operations=operation_views(operations, gate.paused, now),
        pins=len(gate.sticky),
    )


def _core_views(ledger: Ledger) -> tuple[CoreView, ...]:
    """Every core, with the tokens that its draining processes hold."""
    draining = [ledger[seat] for seat in list(ledger.draining)]
    views: list[CoreView] = []
    for book in list(ledger.books):
        if book.bit:
            others = [book, *(other for other in draining if other.core == book.core)]
            tickets: list[Ticket] = []
            for other in others:
                tickets += other.held.values()
            views.append(
                CoreView(
                    book.core,
                    book.ready,
                    frozenset([ticket.number for ticket in tickets]),
                    frozenset([ticket.number for ticket in tickets if ticket.stage.ended]),
                    sum(other.answered for other in others),
                )
            )
    return tuple(views)


def tell_story(ticket: Ticket, gate: Gate, ledger: Ledger) -> TicketStory:
    """The history of a token so far."""
    sent = ticket.core is not None
    return TicketStory(
        number=ticket.number,
        operation=ticket.operation.name,
        stage=ticket.stage,
        core=ticket.core,
        admitted=ticket.admitted if sent else None,
        held=any(ticket.number in book.held for book in ledger.books if book.core == ticket.core),
        ahead=gate.ahead(ticket),
    )
