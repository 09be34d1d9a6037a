"""The receiver: takes portions from links, and has them settled."""

from __future__ import annotations

import logging
from time import monotonic_ns

from tokengate_mp.engine.inbound.settlement import Settlement
from tokengate_mp.engine.outbound.intake import Intake
from tokengate_mp.engine.peers import Peer, Peers
from tokengate_mp.errors import CoordinatorNotRunning, WireError
from tokengate_mp.ports import CoreBackend, CoreLink, Portion
from tokengate_mp.scheduling.scheduler import Scheduler

_log = logging.getLogger(__name__)


class Receiver:
    """Receives from links, a single link at a time.

    Args:
        scheduler: Told of cores that are hungry.
        backend: Ends a process that writes what makes no sense.
        peers: The peer of each link.
        intake: Closed at the end.
        settlement: Settles portions.

    Attributes:
        receiving: Whether portions are being settled: loading a result runs user code, which may
            make tokens, and so come to a turn.
        behind: Links of which outcomes were taken that there was no time to settle.
    """

    __slots__ = (
        "_backend",
        "_intake",
        "_peers",
        "_scheduler",
        "_settlement",
        "behind",
        "receiving",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        backend: CoreBackend,
        peers: Peers,
        intake: Intake,
        settlement: Settlement,
    ) -> None:
        self._scheduler = scheduler
        self._backend = backend
        self._peers = peers
        self._intake = intake
        self._settlement = settlement
        self.receiving = False
        self.behind: set[CoreLink] = set()

    def receive(self, link: CoreLink, deadline: int | None) -> None:
        """Settle the portions that a core has published.

        Args:
            link: The core's link.
            deadline: Until when portions are settled, monotonic ns; None: until there are none.

        Raises:
            CoordinatorNotRunning: The coordinator was stopped meanwhile.
        """
        peer, hungry, more = self._peers.of(link), False, True
        self.receiving = True
        try:
            while more:
                portion = _unsettled(peer) if peer.unsettled else link.take()
                if self._intake.closed:
                    raise CoordinatorNotRunning(
                        "a handler of a log record has stopped the coordinator"
                    )
                if portion is None:
                    break
                hungry = hungry or portion.hungry
                self._settlement.settle(peer, portion, deadline)
                more = deadline is None or (portion.more and monotonic_ns() <= deadline)
        except WireError:
            # Nothing from there can be trusted now. What it holds ends, or moves, with its process.
            _log.exception("core %d: its process is ended", link.core)
            peer.unsettled = []
            self._backend.condemn(link, "what it wrote made no sense", distrusted=True)
        finally:
            self.receiving = False
            if peer.unsettled:
                self.behind.add(link)
            elif self.behind:
                self.behind.discard(link)
        if hungry:
            self._scheduler.hungry(link.seat, peer.running())


def _unsettled(peer: Peer) -> Portion:
    """The outcomes that there was no time for, as a portion."""
    portion = Portion(peer.unsettled, plain=False)
    portion.more = True
    peer.unsettled = []
    return portion
