"""What was lost with a core process."""

from __future__ import annotations

from time import monotonic_ns

from tokengate_mp.cores.incarnation import Incarnation
from tokengate_mp.engine.control import TokenControl, tokens_of
from tokengate_mp.scheduling.model.ticket import Ticket
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.tokens.token import Token
from tokengate_mp.worker_lost import WorkerLost


def end_lost(
    incarnation: Incarnation, exitcode: int | None, scheduler: Scheduler, control: TokenControl
) -> None:
    """End the tokens that a process was running when it ended, unless they are to be run again.

    And what only they were waiting for.

    Args:
        incarnation: The process. All that it has written is taken up.
        exitcode: What it ended with.
        scheduler: Who knows what it held.
        control: Who delivers the errors.
    """
    pid, why, seat = incarnation.launched.process.pid, incarnation.condemned, incarnation.seat
    running = tokens_of(scheduler.accounts.held_among(seat, incarnation.running()))
    errors: dict[int, BaseException] = {
        token.number: WorkerLost(pid, exitcode, _doing(token), why) for token in running
    }
    lost = scheduler.core_lost(seat, errors, monotonic_ns())
    if seat != incarnation.core:
        scheduler.handover.end_draining(seat)
    for token in tokens_of(lost):
        control.deliver_error(token, errors[token.number])
    for token in tokens_of(lost):
        control.forsaken(token)


def _doing(ticket: Ticket) -> str:
    return f"it was running {ticket.operation.name!r} ({Token.id_of(ticket.number)})"
