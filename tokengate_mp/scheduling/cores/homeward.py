"""Tokens that were placed with a core already, and go there with the next order.

A dependent goes to the core that made the largest of the values it depends on, if that disturbs
nothing (see `Router.goes_home`). That is decided when it gets into its lane, between two orders.
"""

from __future__ import annotations

from collections.abc import Mapping

from tokengate_mp.scheduling.model.ticket import Ticket


class Homeward:
    """Such tokens, by core."""

    __slots__ = ("_by_core",)

    def __init__(self) -> None:
        self._by_core: dict[int, list[Ticket]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_core)

    def await_order(self, ticket: Ticket, core: int) -> None:
        """Send a token, which is in the core's book, with the next order."""
        self._by_core.setdefault(core, []).append(ticket)

    def take_core(self, core: int) -> list[Ticket]:
        """Take the tokens that were to go to a core."""
        return self._by_core.pop(core, [])

    def take_all(self) -> Mapping[int, list[Ticket]]:
        """Take the tokens for all cores.

        (Some may have been taken back since.)
        """
        taken, self._by_core = self._by_core, {}
        return taken
