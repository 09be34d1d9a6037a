"""The bell of the watchdog, as the crew rings it."""

from __future__ import annotations

from tokengate_mp.wire.channel.doorbell import Doorbell


class WatchdogBell:
    """Wakes the watchdog of a crew.

    Args:
        bell: The bell that the control thread waits for.

    Attributes:
        asleep: Whether the watchdog wants to be woken when there is mail.
    """

    __slots__ = ("_bell", "asleep")

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self.asleep = True

    def wake_watchdog(self) -> None:
        """Ring for the watchdog."""
        self._bell.ring()
