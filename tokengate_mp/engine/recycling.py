"""Recycling: core processes that have run their time are replaced while they are well.

The process that is to take over is started first, and gets ready beside the old one, which goes on
meanwhile. Once it is up, it gets the core's tokens; the old one gives back what it has not begun,
finishes the rest, and ends. So no token is lost to a recycling, and no core stands still for one.
Tokens that are made inside those that the old process finishes may go to either; a chain goes on
where it is, and keys that are pinned to a core stay pinned to it.

When it is due. With a limit that is not exact, a process that has answered for so many tokens is
recycled, and what it runs until its successor is up is beyond the limit. With an exact one it is
never sent more, so the successor is started ahead, by the pace so far; but the core waits for it if
it is late.

The resident set is looked at from outside, about once a second while anything happens: that costs
some 20 µs for each process, none of which is the crew's, and sees what a token takes while it runs.
What is freed in between counts no more, and what is taken in between is seen late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic_ns
from typing import Final

import psutil

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.engine.peers import Peer, Peers
from tokengate_mp.loops.timers import Timer
from tokengate_mp.ports import CoreBackend
from tokengate_mp.scheduling.scheduler import Scheduler

WEIGH_SECONDS: Final = 1.0
"""How long after anything has happened resident sets are looked at."""

_log = logging.getLogger(__name__)


def is_nearly_used(answered: int, limit: int, age: int, lead: int) -> bool:
    """Whether a successor should be started, so that it is up when the limit is reached.

    Args:
        answered: How many tokens the process has answered for.
        limit: How many it may.
        age: For how long it has been taking tokens, ns.
        lead: How long a process needs to get ready, ns; twice as long is allowed for.
    """
    left = limit - answered
    return left <= 0 or (answered > 0 and left * age <= 2 * lead * answered)


class Recycling:
    """Decides which processes are recycled, and when each next one takes over.

    Args:
        settings: The limits.
        loop: The engine's loop.
        scheduler: Knows what each process holds, and has answered for.
        backend: Starts and ends processes.
        peers: The peer on each seat.
        request_turn: Asks for a turn, in which `advance` is called.

    Attributes:
        active: Whether there are any limits.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that takes part in a handover
        self,
        settings: CoordinatorSettings,
        loop: asyncio.AbstractEventLoop,
        scheduler: Scheduler,
        backend: CoreBackend,
        peers: Peers,
        request_turn: Callable[[], object],
    ) -> None:
        self._limit = settings.max_tokens_per_core
        self._exact = settings.exact
        self._max_rss = settings.max_rss
        self._scheduler = scheduler
        self._handover = scheduler.handover
        self._backend = backend
        self._peers = peers
        self._request_turn = request_turn
        self._weighing = Timer(loop, self._weigh)
        self._heavy: set[Peer] = set()
        self._lead = 0
        self._begun = dict.fromkeys(range(1, len(settings.cpus) + 1), 0)
        self.active = self._limit is not None or self._max_rss is not None

    def begin_shift(self, peer: Peer) -> None:
        """Count anew for a process that has taken over its core and is up."""
        now = monotonic_ns()
        self._begun[peer.core] = now
        if not peer.shared:  # else it may have been up for long
            self._lead = now - peer.made
        self._handover.begin_process(peer.core, self._limit if self._exact else None)

    def made_progress(self, peer: Peer) -> bool:
        """Whether a process that has ended had answered for a token, or is excused.

        All outcomes that it left are settled, and its tokens are not ended yet.
        """
        self._heavy.discard(peer)
        answered = peer.seat == peer.core and self._handover.answered_by_process(peer.core) > 0
        return answered or peer.excused

    def advance(self) -> None:
        """Go on with what is under way, and begin what is due."""
        for seat, peer in list(self._peers.items()):
            if seat == peer.core:
                self._advance(peer)
            elif not self._scheduler.accounts.held_count(seat):
                self._backend.dismiss(peer.link)
        if self._max_rss is not None:
            self._weighing.run_within(WEIGH_SECONDS)

    def _advance(self, peer: Peer) -> None:
        backend, core = self._backend, peer.core
        successor = backend.successors.get(core)
        if core in backend.irreplaceable_cores:
            if self._handover.is_closed(core):
                self._relieve(peer)
        elif successor is not None:
            if successor.ready and self._is_over(peer):
                self._relieve(peer)
        elif peer.link.ready and self._may_begin(core) and self._is_due(peer):
            backend.replace(core)

    def _may_begin(self, core: int) -> bool:
        """Whether a successor of this core's process may be started now.

        Where no limit is exact, they get ready one after the other: so there is one process more
        than there are cores, and not twice as many.
        """
        backend = self._backend
        if backend.is_replacing(core):
            return False
        return self._exact or all(each.ready for each in backend.successors.values())

    def _is_over(self, peer: Peer) -> bool:
        """Whether the time of a process whose successor is up has come."""
        exact = self._exact and peer not in self._heavy
        return not exact or self._handover.is_closed(peer.core)

    def _is_due(self, peer: Peer) -> bool:
        if peer in self._heavy:
            return True
        if self._limit is None:
            return False
        core = peer.core
        answered = self._handover.answered_by_process(core)
        if not self._exact:
            return answered >= self._limit
        age = monotonic_ns() - self._begun[core]
        return self._handover.is_closed(core) or is_nearly_used(
            answered, self._limit, age, self._lead
        )

    def _relieve(self, peer: Peer) -> None:
        core = peer.core
        self._heavy.discard(peer)
        successor = self._backend.successors.get(core)
        if successor is not None:
            peer.shared = self._peers.of(successor).shared = True
        self._backend.relieve(core, self._handover.relieve(core))
        if self._scheduler.accounts.held_count(peer.seat):
            peer.link.recall()
        else:
            self._backend.dismiss(peer.link)

    def _weigh(self) -> None:
        """Find the processes that have grown beyond the limit."""
        assert self._max_rss is not None
        for core in self._begun:
            peer = self._peers.get(core)
            # One that has not done anything is not made smaller by another fresh one.
            if peer is None or not peer.link.ready or not self._handover.answered_by_process(core):
                continue
            pid = peer.link.facts().pid
            if pid is None or peer in self._heavy:
                continue
            try:
                rss = psutil.Process(pid).memory_info().rss
            except psutil.Error:  # it has just ended, which is noticed apart
                continue
            if rss > self._max_rss:
                _log.info("core %d: process %d has grown to %d bytes", core, pid, rss)
                self._heavy.add(peer)
                self._request_turn()

    def cancel(self) -> None:
        """Look at no more resident sets."""
        self._weighing.cancel()
