"""Recycling: core processes that have run their time are replaced while they are well.

The process that is to take over is started first, and gets ready beside the old one, which goes on
meanwhile. Once it is up, it gets the core's tokens; the old one gives back what it has not begun,
finishes the rest, and ends. So no token is lost to a recycling, and no core stands still for one.
Tokens that are made inside those that the old process finishes may go to either; a chain goes on
where it is, and keys that are pinned to a core stay pinned to it.

When that is due is decided in `scheduling.policy.recycling`: facts go there, and orders come back.

Of the resident set, what the process shares (arrays in shared memory, files of libraries) is no
reason to replace it: the next one would have as much. The rest is looked at from outside, about
once a second while anything happens: that costs some 20 µs for each process, none of which is the
crew's, and sees what a token takes while it runs. What is freed in between counts no more, and what
is taken in between is seen late.
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
from tokengate_mp.errors import CoordinatorNotRunning, CoreStartError
from tokengate_mp.loops.timers import Timer
from tokengate_mp.ports import CoreBackend, CoreLink
from tokengate_mp.scheduling.policy.recycling import ProcessFacts, RecyclingPolicy
from tokengate_mp.scheduling.scheduler import Scheduler

WEIGH_SECONDS: Final = 1.0
"""How long after anything has happened resident sets are looked at."""

_log = logging.getLogger(__name__)


class Recycling:
    """Replaces processes as the policy orders.

    Args:
        settings: The limits.
        loop: The engine's loop.
        scheduler: Knows what each process holds, and has answered for.
        backend: Starts and ends processes.
        peers: The peer on each seat.
        request_turn: Asks for a turn, in which `advance` is called.

    Attributes:
        active: Whether there are any limits, or processes were replaced without.
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
        limit, max_rss = settings.max_tokens_per_core, settings.max_rss
        self._policy = RecyclingPolicy(limit, exact=settings.exact, max_rss=max_rss)
        self._weighs = max_rss is not None
        self._scheduler = scheduler
        self._handover = scheduler.handover
        self._backend = backend
        self._peers = peers
        self._request_turn = request_turn
        self._weighing = Timer(loop, self._weigh)
        self.active = limit is not None or max_rss is not None
        self._loop = loop
        self._old: frozenset[CoreLink] = frozenset()
        self._waiters: list[asyncio.Future[None]] = []

    def begin_shift(self, peer: Peer) -> None:
        """Count anew for a process that has taken over its core and is up."""
        now = monotonic_ns()
        # (One that was shared may have been up for long.)
        self._policy.process_began(peer.core, now, None if peer.shared else now - peer.made)
        self._handover.begin_process(peer.core, self._policy.quota)

    def made_progress(self, peer: Peer) -> bool:
        """Whether a process that has ended had answered for a token, or is excused.

        All outcomes that it left are settled, and its tokens are not ended yet.
        """
        if peer.seat != peer.core:
            return peer.excused
        self._policy.process_ended(peer.core)
        return peer.excused or self._handover.answered_by_process(peer.core) > 0

    async def restart(self) -> None:
        """Have all processes of now replaced by such as begin with the surroundings of now.

        Returns when the last of them has been relieved. In the engine's loop.

        Raises:
            CoreStartError: A process cannot be replaced; it goes on.
            CoordinatorNotRunning: The engine was closed meanwhile.
        """
        self._backend.renew()
        # Successors that are about to take over have begun with what was before.
        self._old = frozenset(self._backend.all_links())
        self.active = True
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        self._request_turn()
        await waiter

    def _go_on_restarting(self) -> None:
        """Have the next process replaced, and end the wait when there is none."""
        backend, policy = self._backend, self._policy
        left = [link for link in backend.all_links() if link in self._old]
        # (What was relieved finishes its tokens under a seat of its own.)
        left = [link for link in left if link.seat in {0, link.core}]
        for link in left:
            if link.core in backend.irreplaceable_cores:
                reason = backend.irreplaceable_cores[link.core]
                kept = f"core {link.core} keeps its process, as no other can be started: {reason}"
                self._end_restart(CoreStartError(kept))
                return
            if link.seat:
                policy.replacement_wanted(link.core)
        if not left:
            self._end_restart(None)

    def _end_restart(self, error: Exception | None) -> None:
        for core in {link.core for link in self._old}:
            self._policy.replacement_unwanted(core)
        self._old = frozenset()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def advance(self) -> None:
        """Go on with what is under way, and begin what is due."""
        if self._waiters:
            self._go_on_restarting()
        accounts, peers = self._scheduler.accounts, self._peers
        draining: dict[int, int] = {}
        serving: list[ProcessFacts] = []
        for seat, peer in peers.items():
            if seat == peer.core:
                serving.append(self._facts(peer))
            else:
                draining[seat] = accounts.held_count(seat)
        orders = self._policy.decide(serving, draining, monotonic_ns())
        for seat in orders.dismiss:
            self._backend.dismiss(peers[seat].link)
        for core in orders.hand_over:
            self._relieve(peers[core])
        for core in orders.start:
            self._backend.replace(core)
        if self._waiters and orders.hand_over:
            self._request_turn()
        if self._weighs:
            self._weighing.run_within(WEIGH_SECONDS)

    def _facts(self, peer: Peer) -> ProcessFacts:
        backend, core = self._backend, peer.core
        successor = backend.successors.get(core)
        return ProcessFacts(
            core=core,
            ready=peer.link.ready,
            answered=self._handover.answered_by_process(core),
            closed=self._handover.is_closed(core),
            successor_ready=None if successor is None else successor.ready,
            successor_due=backend.is_replacing(core),
            irreplaceable=core in backend.irreplaceable_cores,
        )

    def _relieve(self, peer: Peer) -> None:
        """Let the successor of a core's process take over, or give the core up without."""
        core = peer.core
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
        for seat, peer in self._peers.items():
            if seat != peer.core or not peer.link.ready:
                continue
            pid = peer.link.facts().pid
            answered = self._handover.answered_by_process(peer.core)
            if pid is None or not self._policy.worth_weighing(peer.core, answered):
                continue
            try:
                size = _own_memory(psutil.Process(pid))
            except psutil.Error:  # it has just ended, which is noticed apart
                continue
            if self._policy.weighed(peer.core, size):
                _log.info("core %d: process %d has grown to %d bytes", peer.core, pid, size)
                self._request_turn()

    def cancel(self) -> None:
        """Replace nothing more, and look at no more memory."""
        self._weighing.cancel()
        self._end_restart(CoordinatorNotRunning("the core processes were stopped meanwhile"))


def _own_memory(process: psutil.Process) -> int:
    """The resident set of a process, less what is shared, bytes; both where the system says."""
    sizes = process.memory_info()
    return int(sizes.rss - getattr(sizes, "shared", 0))
