"""When a core process wakes its parent for outcomes.

Ringing the parent for each of them would cost more than a short token does. Outcomes are published
at once, but the bell rings only when nothing is left to run, when `COALESCE_NS` have passed since
the parent last looked, or when the next token is one that may take longer; and while there is ample
work ahead, not before `PATIENT_NS`. Should such a guess be wrong, the watchdog rings.
"""

from __future__ import annotations

from typing import Final

from tokengate_mp.wire.channel.mailbox import LOOKED
from tokengate_mp.wire.protocol.control import PATIENT_NS

COALESCE_NS: Final = 4_000_000
"""How long outcomes may wait for the bell while the crew goes on running short tokens, ns."""

AMPLE_NS: Final = 8_000_000
"""What a core that puts the bell off for longer has still to do, ns: enough to last until more
comes, even if the parent is in the middle of something."""


class WakeUp:
    """How long the parent's bell can wait.

    Args:
        words: The status page of the mailbox.

    Attributes:
        due: Until when the bell can wait, monotonic ns, by what was known at the latest question.
    """

    __slots__ = ("_rung_at", "_words", "due")

    def __init__(self, words: memoryview) -> None:
        self.due = 0
        self._rung_at = 0
        self._words = words

    def can_wait(self, now: int, ahead: int, last: int) -> bool:
        """Return whether the bell can wait until then, and longer, though `due` has passed.

        Args:
            now: The time, monotonic ns.
            ahead: How many tokens are still to be run.
            last: How long each of them will take, by the last, ns.
        """
        # The parent may have looked since, because another core had rung.
        since = max(self._rung_at, self._words[LOOKED])
        due = since + COALESCE_NS
        if now > due:
            # Asked again long before that is gone: the next ones may take a fraction of that time,
            # and far less after a token that was one of few long ones.
            spare = ahead * min(last, COALESCE_NS) - AMPLE_NS
            due = min(since + PATIENT_NS, now + spare // 4)
        self.due = due
        return now <= due

    def restart_wait(self, now: int) -> None:
        """Count from a ring of the bell at the time `now`, monotonic ns."""
        self._rung_at = now
        self.due = now + COALESCE_NS
