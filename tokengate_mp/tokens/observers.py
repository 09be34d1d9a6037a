"""Observers of tokens: told when tokens end, a portion of outcomes at a time.

A callback on each of many tokens would have the event loop run as many callbacks. So what waits for
many tokens observes them all, and picks those that it waits for.

Observers are called within the turns of a coordinator, which nothing may break off. What an
observer raises is logged, and the observer is told nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Protocol

from tokengate_mp.errors import summary, type_name

_log = logging.getLogger(__name__)


class EndObserver(Protocol):
    """An observer of the ends of tokens."""

    def tokens_ended(self, tokens: Iterable[asyncio.Future[Any]], /) -> None:
        """Take note of tokens that were settled; the done tokens among them have ended.

        Called in the coordinator's thread, or where a token of another thread ends: so in two
        threads at once. It must return soon, as no token is settled meanwhile.
        """


observers: list[EndObserver] = []
"""Whoever settles tokens looks here whether there are any, and then calls `tell_observers`."""


def add_observer(observer: EndObserver) -> None:
    """Tell an observer of all tokens that end from now on. In any thread."""
    observers.append(observer)


def remove_observer(observer: EndObserver) -> None:
    """Tell an observer nothing more. In any thread; for any object."""
    try:
        observers.remove(observer)
    except ValueError:
        pass  # it was removed before, for what it raised


def tell_observers(tokens: Iterable[asyncio.Future[Any]]) -> None:
    """Tell all observers of tokens that were settled, and remove observers that raise.

    Raises:
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    for observer in tuple(observers):
        try:
            observer.tokens_ended(tokens)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - nothing of it may reach the turn
            remove_observer(observer)
            _log.error(
                "%s observes no tokens any more: %s", type_name(type(observer)), summary(error)
            )
