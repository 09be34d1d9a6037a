"""What the tokens of a soak do: something of everything, each noting when it begins and ends.

Core processes import this, so it is light.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from tokengate_mp.calls.decorator import task_token_guard
from tokengate_mp.errors import TokenGateError
from tokengate_mp.soak import journal
from tokengate_mp.soak.journal import End, Event, Note

if TYPE_CHECKING:
    from tokengate_mp import Token, TokenFunction

RETRIES: Final = 3
"""How often a token that fails is run again."""

POISON_LIMIT: Final = 2
"""How many processes a token that may be run again can take with it."""

CHILDREN: Final = 3
"""How many tokens a lead, or one that asks for results, makes; they have the numbers behind it."""

NEEDS: Final = 2
"""How many tokens a sum takes; they have the numbers before it."""

_STEP: Final = 0.005
_MODULUS: Final = (1 << 61) - 1


class Kind(IntEnum):
    """Kinds of token: the work done, and the ends allowed."""

    NOOP = 1
    WORK = 2
    NAP = 3
    LARGE = 4
    FLAKY = 5
    STUBBORN = 6
    SURE = 7
    HASTY = 8
    DOOMED = 9
    DROPPED = 10
    LEAD = 11
    CHILD = 12
    ASKER = 13
    INNER = 14
    SUM = 15
    MAPPED = 16
    ALONE = 17


class FlakyError(Exception):
    """Error with which tokens of the soak fail."""


def result_of(kind: int, number: int) -> int:
    """The result of a token of that kind with that number."""
    own = number * 0x9E3779B97F4A7C15 % _MODULUS
    if kind == Kind.ASKER:
        return own + sum(result_of(Kind.INNER, number + i) for i in range(1, CHILDREN + 1))
    if kind == Kind.SUM:
        return own + sum(result_of(Kind.NOOP, number - i) for i in range(1, NEEDS + 1))
    return own


def lost_by(error: BaseException) -> tuple[int, int] | None:
    """The process and the engine's number of the token that a `WorkerLost` speaks of; else None."""
    if type(error).__name__ != "WorkerLost" or not isinstance(error, TokenGateError):
        return None
    # "it was running <Token 0a1b2c3d-17 soak.nap ADMITTED>": not by its type, which loads more.
    named = getattr(error, "detail", "").partition("-")[2].partition(" ")[0]
    return getattr(error, "pid", 0), int(named) if named.isdecimal() else 0


def _noted(path: str, number: int, work: Callable[[], Any], value: int | None = None) -> Any:
    """The result of `work`, with a note before and a note after."""
    pid = os.getpid()
    journal.write(path, Note(number, 0, pid, Event.BEGUN))
    try:
        given = work()
    except BaseException:
        journal.write(path, Note(number, 0, pid, Event.RAISED))
        raise
    journal.write(path, Note(number, given if value is None else value, pid, Event.RETURNED))
    return given


def _soon(kind: Kind, number: int) -> int:
    """The result after up to 4 ms, so that short tokens are hit by kills too."""
    time.sleep(number % 5 / 1000)
    return result_of(kind, number)


def _patiently(seconds: float, value: int) -> int:
    """Sleep in steps, so that an interruption is heeded soon."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _STEP))
    return value


def _perhaps(number: int, seconds: float) -> int:
    time.sleep(seconds)
    if random.random() < 0.4:
        raise FlakyError(f"token {number} failed, as it does now and then")
    return result_of(Kind.FLAKY, number)


@task_token_guard("soak.noop", weight="light")
def noop(path: str, number: int) -> int:
    """Do nothing."""
    return int(_noted(path, number, lambda: result_of(Kind.NOOP, number)))


@task_token_guard("soak.work", weight="heavy")
def work(path: str, number: int) -> int:
    """Compute for a millisecond or less."""

    def hashed() -> int:
        digest = b""
        for _ in range(number % 1000):
            digest = sha256(digest).digest()
        return result_of(Kind.WORK, number)

    return int(_noted(path, number, hashed))


@task_token_guard("soak.nap")
def nap(path: str, number: int) -> int:
    """Sleep up to 20 ms, without a pause."""

    def sleep() -> int:
        time.sleep(number % 20 / 1000)
        return result_of(Kind.NAP, number)

    return int(_noted(path, number, sleep))


@task_token_guard("soak.alone", exclusive=True)
def alone(path: str, number: int) -> int:
    """Sleep up to 8 ms, with the process to itself."""

    def sleep() -> int:
        time.sleep(number % 9 / 1000)
        return result_of(Kind.ALONE, number)

    return int(_noted(path, number, sleep))


@task_token_guard("soak.large")
def large(path: str, number: int, payload: bytes) -> bytes:
    """Give back a payload that travels in pieces, turned round."""
    turned = _noted(path, number, lambda: payload[::-1], result_of(Kind.LARGE, number))
    assert isinstance(turned, bytes), "what a slice of bytes is"
    return turned


@task_token_guard("soak.flaky", retries=RETRIES, retry_on=(FlakyError,), backoff=0.01)
def flaky(path: str, number: int) -> int:
    """Fail now and then; run again for that, and for nothing else."""
    return int(_noted(path, number, lambda: _perhaps(number, 0)))


@task_token_guard("soak.stubborn", retries=RETRIES, backoff=0.005)
def stubborn(path: str, number: int) -> int:
    """Fail now and then; run again whatever happens."""
    return int(_noted(path, number, lambda: _perhaps(number, 0.005)))


@task_token_guard("soak.sure", idempotent=True)
def sure(path: str, number: int) -> int:
    """Be run again when the process dies."""

    def sleep() -> int:
        time.sleep(number % 10 / 1000)
        return result_of(Kind.SURE, number)

    return int(_noted(path, number, sleep))


@task_token_guard("soak.hasty", timeout=0.3)
def hasty(path: str, number: int) -> int:
    """Take longer than is allowed, in half of the cases."""
    seconds = number % 32 / 40
    return int(_noted(path, number, lambda: _patiently(seconds, result_of(Kind.HASTY, number))))


@task_token_guard("soak.doomed")
def doomed(path: str, number: int) -> int:
    """Take up to 0.4 s, to be killed meanwhile."""
    seconds = number % 20 / 50
    return int(_noted(path, number, lambda: _patiently(seconds, result_of(Kind.DOOMED, number))))


@task_token_guard("soak.dropped")
def dropped(path: str, number: int) -> int:
    """Take up to 0.4 s, to be cancelled meanwhile."""
    seconds = number % 20 / 50
    return int(_noted(path, number, lambda: _patiently(seconds, result_of(Kind.DROPPED, number))))


@task_token_guard("soak.child")
def child(path: str, number: int) -> int:
    """Be made in a chain."""
    return int(_noted(path, number, lambda: _soon(Kind.CHILD, number)))


@task_token_guard("soak.lead", external_calls=["soak.child"])
def lead(path: str, number: int) -> list[Any]:
    """Make tokens in a chain, and return all."""

    def made() -> list[Any]:
        tokens = []
        for each in range(number + 1, number + 1 + CHILDREN):
            journal.write(path, Note(each, number, os.getpid(), Event.MADE, Kind.CHILD))
            tokens.append(child(path, each))
            time.sleep(0.001)
        return tokens

    tokens = _noted(path, number, made, result_of(Kind.LEAD, number))
    assert isinstance(tokens, list), "what was made above"
    return tokens


@task_token_guard("soak.inner")
def inner(path: str, number: int) -> int:
    """Run as the nested token of a token that waits for the result."""
    return int(_noted(path, number, lambda: _soon(Kind.INNER, number)))


@task_token_guard("soak.asker")
def asker(path: str, number: int) -> int:
    """Make tokens, and wait for their results."""

    def asked() -> int:
        tokens = []
        for each in range(number + 1, number + 1 + CHILDREN):
            journal.write(path, Note(each, number, os.getpid(), Event.MADE, Kind.INNER))
            tokens.append((each, inner(path, each)))
        total = number * 0x9E3779B97F4A7C15 % _MODULUS
        for each, token in tokens:
            total += _asked(path, each, token)
        return total

    return int(_noted(path, number, asked))


def _asked(path: str, number: int, token: Token[int]) -> int:
    try:
        value = token.get()
    except TokenGateError as error:
        pid, engine = lost_by(error) or (0, 0)
        end = End.LOST if pid else End.OTHER
        journal.write(path, Note(number, engine, pid, Event.ENDED, end))
        raise
    journal.write(path, Note(number, value, 0, Event.ENDED, End.VALUE))
    return value


@task_token_guard("soak.sum")
def sum_up(path: str, number: int, *needed: int) -> int:
    """Add up the results of other tokens."""
    own = number * 0x9E3779B97F4A7C15 % _MODULUS

    def added() -> int:
        time.sleep(number % 5 / 1000)
        return own + sum(needed)

    return int(_noted(path, number, added))


@task_token_guard("soak.mapped", weight="light")
def mapped(path: str, number: int) -> int:
    """Run as an item of a map."""
    return int(_noted(path, number, lambda: _soon(Kind.MAPPED, number)))


PLAIN: Final[dict[Kind, TokenFunction[[str, int], Any]]] = {
    Kind.NOOP: noop,
    Kind.WORK: work,
    Kind.NAP: nap,
    Kind.ALONE: alone,
    Kind.FLAKY: flaky,
    Kind.STUBBORN: stubborn,
    Kind.SURE: sure,
    Kind.HASTY: hasty,
    Kind.DOOMED: doomed,
    Kind.DROPPED: dropped,
    Kind.LEAD: lead,
    Kind.ASKER: asker,
}
"""The functions that take the journal and a number, and nothing else."""
