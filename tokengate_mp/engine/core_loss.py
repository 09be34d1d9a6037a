"""The loss of a core process: which of its tokens end, and with which error."""

from __future__ import annotations

from time import monotonic_ns

from tokengate_mp.engine.control import TokenControl, tokens_of
from tokengate_mp.engine.peers import Peer
from tokengate_mp.ports import Ending
from tokengate_mp.scheduling.scheduler import Scheduler
from tokengate_mp.worker_lost import WorkerLost


def end_lost(peer: Peer, ending: Ending, scheduler: Scheduler, control: TokenControl) -> None:
    """End the tokens that a process was running at its end, unless another run is allowed.

    Tokens that only those were waiting for end as well. All others wait for another process.

    Args:
        peer: The process. Everything that it has written is settled.
        ending: How it ended.
        scheduler: Knows what the process held.
        control: Delivers the errors.
    """
    seat, accounts = peer.seat, scheduler.accounts
    errors: dict[int, BaseException] = {}
    for number, begun in peer.unaccounted().items():
        for token in tokens_of(accounts.held_among(seat, [number])):
            was = "was running" if begun else "may have been running"
            detail = f"it {was} {token.operation.name!r} ({token.token_id})"
            errors[number] = WorkerLost(ending.pid or 0, ending.exitcode, detail, ending.because)
    lost = tokens_of(scheduler.core_lost(seat, errors, monotonic_ns()))
    if seat != peer.core:
        scheduler.handover.end_draining(seat)
    for token in lost:
        control.deliver_error(token, errors[token.number])
    for token in lost:
        control.forsaken(token)
