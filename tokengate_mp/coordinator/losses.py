"""What was lost with a core process."""

from __future__ import annotations

from collections.abc import Mapping

from tokengate_mp.coordinator.domain import Incarnation
from tokengate_mp.scheduling.ticket import Ticket
from tokengate_mp.token import Token
from tokengate_mp.worker_lost import WorkerLost


def losses(
    incarnation: Incarnation, exitcode: int | None, held: Mapping[int, Ticket]
) -> dict[int, BaseException]:
    """The errors of the tokens that a process was running when it ended, by number.

    Args:
        incarnation: The process.
        exitcode: What it ended with.
        held: The tokens that its core holds.
    """
    pid, why = incarnation.launched.process.pid, incarnation.condemned
    return {
        number: WorkerLost(pid, exitcode, _doing(held[number]), why)
        for number in incarnation.running()
        if number in held
    }


def _doing(ticket: Ticket) -> str:
    return f"it was running {ticket.operation.name!r} ({Token.id_of(ticket.number)})"
