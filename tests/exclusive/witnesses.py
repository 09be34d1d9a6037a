"""Tokens that see for themselves whether they are alone in their process. Core processes import it.

Each notes in its process that it has begun, that it waits for another, and that it has ended. What
must not be is an error of the token that finds it.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from tokengate_mp import task_token_guard


class NotAloneError(Exception):
    """A token runs beside an exclusive one."""


class _Running:
    """A token that has begun in this process, and has not ended."""

    def __init__(self, exclusive: bool) -> None:
        self.exclusive = exclusive
        self.waits = False
        self.thread = threading.get_ident()


_running: list[_Running] = []
_lock = threading.Lock()


def _main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _look(me: _Running) -> None:
    """Look for what must not be, as a token begins, or goes on after a wait.

    Raises:
        NotAloneError: It is there.
    """
    others = [other for other in _running if other is not me]
    if me.exclusive and not _main():
        raise NotAloneError("an exclusive token is not in the main thread")
    if me.exclusive and not all(other.waits for other in others):
        raise NotAloneError("an exclusive token goes on beside one that does not wait")
    if not _main() and any(other.exclusive for other in others):
        raise NotAloneError("a token goes on beside an exclusive one")


def witness(seed: int, depth: int, exclusive: bool) -> int:
    """Do something of everything: sleep, compute, make tokens and wait for them.

    Returns:
        How many tokens that were, itself among them.

    Raises:
        NotAloneError: A token was not alone that should be.
    """
    chance = random.Random(seed)
    me = _Running(exclusive)
    with _lock:
        _running.append(me)
        _look(me)
    count = 1
    try:
        tokens: list[Any] = []
        for _ in range(chance.randrange(4) if depth else 0):
            _spend(chance)
            make = chance.choice([shared, alone, shared_lead, alone_lead])
            tokens.append(make(chance.randrange(1 << 30), depth - 1))
        _spend(chance)
        chance.shuffle(tokens)
        for token in tokens[chance.randrange(2) :]:
            me.waits = True
            made = token.get()
            with _lock:
                me.waits = False
                _look(me)
            count += made
            _spend(chance)
    finally:
        with _lock:
            _running.remove(me)
    return count


def _spend(chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        time.sleep(chance.random() * 0.004)
    elif kind == 1:
        until = time.thread_time() + chance.random() * 0.001
        while time.thread_time() < until:
            pass


@task_token_guard(operation_type="shared")
def shared(seed: int, depth: int) -> int:
    """Overlap with others of the kind, and with nothing exclusive."""
    return witness(seed, depth, exclusive=False)


@task_token_guard(operation_type="alone", exclusive=True)
def alone(seed: int, depth: int) -> int:
    """Be alone."""
    return witness(seed, depth, exclusive=True)


@task_token_guard(operation_type="shared_lead", external_calls=["all"])
def shared_lead(seed: int, depth: int) -> int:
    """Lead a chain whose members are of all kinds."""
    return witness(seed, depth, exclusive=False)


@task_token_guard(operation_type="alone_lead", external_calls=["all"], exclusive=True)
def alone_lead(seed: int, depth: int) -> int:
    """Lead such a chain, alone."""
    return witness(seed, depth, exclusive=True)


def plain(seed: int, depth: int) -> int:
    """Be alone without saying so."""
    return witness(seed, depth, exclusive=True)
