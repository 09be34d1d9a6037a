"""The work itself: plain functions, importable by every competitor's worker processes.

Core processes and pool workers import this module, so it imports a few light standard modules and
nothing else. Nothing here is decorated: the decorated names live in `tokens`, because a pool has
to find the plain function under its own name.
"""

import hashlib
import random
import time
from collections.abc import Callable
from string import ascii_letters
from typing import Final

Function = Callable[..., object]
Call = tuple[Function, tuple[object, ...]]
"""One unit of work: a function and its positional arguments."""

_LEET: Final = str.maketrans({"A": "4", "E": "3", "I": "1"})
_LETTERS: Final = 300
_NUMBERS: Final = range(1_000_000)


def noop() -> None:
    """Do nothing: all of the time is the way there and back."""


def noop_of(item: object) -> None:
    """Do nothing with an item."""


def burn(nanoseconds: int) -> int:
    """Use so much CPU time of the calling thread, then return the number asked for.

    The thread's own CPU clock is the yardstick, not the wall: a token of 1 ms is 1 ms of work also
    while another process has the core, and also where two CPUs share one physical core. The loop
    ends at most one clock reading (about half a microsecond) late.
    """
    end = time.thread_time_ns() + nanoseconds
    while time.thread_time_ns() < end:
        pass
    return nanoseconds


def cpu_crunch(limit: int) -> int:
    """Return the sum of the primes below `limit`, found by trial division."""
    total = 0
    for candidate in range(2, limit):
        for divisor in range(2, int(candidate**0.5) + 1):
            if candidate % divisor == 0:
                break
        else:
            total += candidate
    return total


def string_transform(seed: int) -> str:
    """Return 300 letters drawn with `seed`: reversed, in capitals, A, E and I as 4, 3 and 1."""
    letters = random.Random(seed).choices(ascii_letters, k=_LETTERS)
    return "".join(letters)[::-1].upper().translate(_LEET)


def data_sort(size: int) -> list[int]:
    """Return `size` integers from 0 to 999,999, drawn with `size` as the seed, in order."""
    return sorted(random.Random(size).choices(_NUMBERS, k=size))


def hash_chain(seed: str, iterations: int) -> str:
    """Return the hex digest after `iterations` rounds of SHA-256, each over the last's hex."""
    digest = seed
    for _ in range(iterations):
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return digest


def mix_call(index: int) -> Call:
    """Return token `index` of the mix: a kind by `index % 4`, each with its own size."""
    kind = index % 4
    if kind == 0:
        return cpu_crunch, (60 + index % 25,)
    if kind == 1:
        return string_transform, (index * 31,)
    if kind == 2:
        return data_sort, (400 + index % 300,)
    return hash_chain, (f"wave_seed_{index}", 120 + index % 80)


def mix_item(index: int) -> object:
    """Return the result of token `index` of the mix."""
    function, arguments = mix_call(index)
    return function(*arguments)


def uneven_durations(count: int, long: int, short_ns: int, factor: int, seed: int) -> list[int]:
    """Return `count` durations in ns, `long` of which are `factor` times `short_ns`.

    Where the long ones stand is drawn with `seed`: an executor cannot know it beforehand.
    """
    durations = [short_ns] * count
    for place in random.Random(seed).sample(range(count), long):
        durations[place] = short_ns * factor
    return durations
