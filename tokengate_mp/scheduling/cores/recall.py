"""Recall: taking back what a core has not begun, for another that has nothing to do.

That is tokens, and calls of a token that is a batch of them.

What was sent to a core can turn out to lie behind a token that takes much longer than the others.
So when a core is idle and nothing waits, cores that have been slow for `RECALL_NS` are asked to
give back what they have not begun. A core is asked again only after it was sent or answered
something; one that did give tokens back is *stuck*, and gets none until it has finished one or says
that it has threads free. So no token travels to and fro.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tokengate_mp.scheduling.cores.ledger import Book, Ledger
from tokengate_mp.scheduling.cores.routing import Router
from tokengate_mp.scheduling.model.weights import members

RECALL_NS: Final = 4_000_000
"""How long a token may lie behind another, ns, before an idle core may have it.

Long beside the cost of sending it elsewhere. (A core that is merely working through a full window
is asked as well then, and shares the rest of that: the cores end together.)
"""


class Recall:
    """Chooses the cores to ask, and when.

    Args:
        ledger: The tokens that each core holds.
        router: Where tokens may run.
    """

    __slots__ = ("_ledger", "_router")

    def __init__(self, ledger: Ledger, router: Router) -> None:
        self._ledger = ledger
        self._router = router

    def overdue_cores(self, now: int) -> list[int]:
        """Cores to ask at `now`; none is named again until something has changed."""
        due = [book.core for book in self._recallable() if now - book.overdue_since() >= RECALL_NS]
        for core in due:
            self._ledger.recallable &= ~(1 << core)
        return due

    def is_possible(self) -> bool:
        """Whether `overdue` will have an answer, now or later, if nothing else happens."""
        return any(True for _ in self._recallable())

    def _recallable(self) -> Iterator[Book]:
        """Cores with more than can be running, in part for a core that has nothing to do."""
        ledger = self._ledger
        if ledger.recallable and (starving := self._router.starving()):
            for core in members(ledger.recallable):
                book = ledger[core]
                if book.reach & starving:
                    yield book
