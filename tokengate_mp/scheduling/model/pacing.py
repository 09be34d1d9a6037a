"""How much a core is sent: late binding, sized from measured durations.

Tokens wait in the parent, where they can still go to any core, be paused or be killed. A core gets
only what will keep it busy for a *window* of some milliseconds: enough that it does not run dry
while its outcomes travel to the parent and new tokens travel back, little enough that no token is
stuck for long behind one that takes longer than expected. Each time the parent is woken it costs
the cores some of their time, so windows are deeper while far more work waits than they hold, where
no token can expect to be done soon anyway. They shrink as that runs out, and with the last of it
they are what they need to be for all cores to end together (as in guided self-scheduling,
Polychronopoulos and Kuck, 1987).

Each token is charged a *cost* against the window of the core that it is sent to: the mean duration
of its operation (an exponentially weighted moving average) plus what the core process itself needs
for a token. Runs that mostly wait, for a disk or another machine, share their core among its crew
threads, and are charged accordingly.

Long tokens would not fit any window, so a core may always hold a *floor* of tokens: one running and
one to go on with, as long as fetching the next one would cost more time than a possible wait
behind the first is worth; and enough for its whole crew when they block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WINDOW_NS: Final = 12_000_000
"""How much work a core may hold when little else waits, ns."""

DEEP_NS: Final = 144_000_000
"""How much work a core may hold when much more waits, ns."""

DEEPEST_NS: Final = 500_000_000
"""How much work a core may hold at the end of a long burst of calls, ns.

A caller hands the tokens to `gather` next. Nobody sends anything meanwhile, and the
garbage collector may go through all of them: with 65,536 tokens of 0.1 ms, made in half a second,
both cores had nothing to do for 0.3 s.
"""

DEPTH: Final = 4
"""So many windows for each core have to wait before they get any deeper."""

QUIET_NS: Final = 100_000_000
"""Windows are not deep while a class of which none waits had tokens within this time, ns.

Its next token would wait behind all that a core holds of the others.
"""

LEAST_NS: Final = 100_000
"""Work that is not worth waking another core for, ns.

Waking one costs the parent some 20 µs, and its tokens arrive some 50 µs later.
"""

LITTLE_NS: Final = 1_000_000
"""Work that one core may have all of, should another one share its CPU with the busy parent, ns.

Both would lose more to each other than the wait costs: each interrupts the other for a time slice
of a few milliseconds.
"""

OVERHEAD_NS: Final = 4_000
"""Time that a core process needs for a token besides running its function, ns.

(Decoding, bookkeeping and encoding, as measured with no-op tokens on CPython 3.11.)
"""

UNKNOWN_NS: Final = WINDOW_NS // 4
"""The cost assumed for an operation that has not been measured yet, ns."""

UNKNOWN_FLOOR: Final = 1
"""Tokens that a core may hold before a token that was never measured must wait for room."""

PREFETCH_NS: Final = 25_000_000
"""Tokens up to this cost are worth fetching while the one before still runs, ns.

A core with nothing to go on with waits some 0.2 ms for the next token: below 1 % of a longer one,
and a longer one, once sent, could not be run by another core that becomes idle first.
"""

MAX_HELD: Final = 4096
"""The most tokens that a core may hold, however short they are.

It bounds the memory of a core process, and the outcomes that the parent may find at one look.
"""

FEWER_HELD: Final = MAX_HELD * 2 // 3
"""Tokens below which a core that held `MAX_HELD` is sent more: a low water by number."""


def smoothed(mean: float, durations: Sequence[int], *, first: bool) -> float:
    """The moving average after more durations, all in ns.

    A batch of n durations counts for n/16 of the new value, and 16 or more replace the old one.
    """
    batch = sum(durations) / len(durations)
    if first:
        return batch
    return mean + (batch - mean) * min(1.0, len(durations) / 16)


def cost(mean: float, threads: int, *, blocking: bool) -> int:
    """The charge of a token against its core's window, ns.

    Args:
        mean: Mean duration of its operation, ns.
        threads: Crew threads of a core, which blocking tokens share.
        blocking: Whether the operation mostly waits.
    """
    return int(mean / threads if blocking else mean) + OVERHEAD_NS


def window(waiting: int, cores: int, away: int = 0) -> int:
    """Work that a core may hold, ns.

    Args:
        waiting: How much work waits, ns, as far as durations are known.
        cores: How many cores there are for it.
        away: For how long the parent may not come to send more, ns.
    """
    deep = min(DEEPEST_NS, max(DEEP_NS, away))
    return min(deep, max(WINDOW_NS, waiting // (DEPTH * cores)))


def low_water(window_ns: int) -> int:
    """Work below which a core whose window was full is sent more, ns.

    A core that is busy rings when about a third of its window is done (see `worker.crew.wake_up`).
    So each time it does there is room again, and what it still holds lasts until more arrives.
    """
    return window_ns * 2 // 3


def nearly_dry(window_ns: int) -> int:
    """Work below which a core is sent the next token, however long that is, ns.

    The core may not ring again before it has nothing to do. (And all cores would run dry while a
    long token at the head of a lane waits for the first that is.)
    """
    return window_ns // 3


def helping(waiting: int, cores: int, window_ns: int) -> int:
    """Work that a core is given per visit, ns: few tokens spread over all that have room.

    Args:
        waiting: How much work waits, ns.
        cores: How many cores have room for it.
        window_ns: How much a core may hold, ns: an eighth of that is the most, so that cores are
            filled side by side.
    """
    return min(window_ns // 8, max(LEAST_NS, waiting // cores))


def floor(charged: int, threads: int, *, blocking: bool) -> int:
    """How many tokens a core may hold when the next would not fit its window.

    Args:
        charged: The cost of that next token, ns.
        threads: Crew threads of a core.
        blocking: Whether its operation mostly waits.
    """
    if blocking:
        return threads
    return 2 if charged <= PREFETCH_NS else 1
