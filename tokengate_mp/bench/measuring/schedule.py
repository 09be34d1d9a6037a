"""The best possible schedule of independent durations on equal cores."""

from __future__ import annotations

import heapq
from collections.abc import Iterable


def longest_first(durations: Iterable[int], cores: int) -> int:
    """Return when the last core ends if each duration in turn, longest first, goes to the idlest.

    This is the best possible schedule whenever there are two kinds, the short one divides the long
    one, as in the benchmark. (No schedule ends before the core with the most long ones does, nor
    before the total divided by the cores, rounded up to a whole short one; here the long ones are
    spread evenly, and the short ones then fill up to whichever of the two bounds is the later.) In
    general it is at most a third above the best.
    """
    ends = [0] * cores
    for duration in sorted(durations, reverse=True):
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)
