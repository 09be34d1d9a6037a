"""The change of each figure between an earlier run and a new run, and whether that is a loss.

A figure has changed if its median moved by more than the samples of either run differ among
themselves (largest less smallest): what a machine does by itself between two samples of one run is
no change of the program. Three samples are needed for that in both runs. Two runs of
equal programs (normal samples) are told apart by chance in one of five comparisons if each has two
samples; in one of sixteen with three; in one of 260 with five, as the benchmark takes by default.

A change of less than one in a hundred is none, however little the samples differ: of memory they
differ by a tenth of a byte, and half a byte more for each token is no loss to anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.results.baseline import Baseline
from tokengate_mp.bench.results.report import Line
from tokengate_mp.bench.results.spread import Spread
from tokengate_mp.bench.rows.row import Row

LEAST_SAMPLES: Final = 3
"""Samples needed in both runs for a verdict."""

LEAST_CHANGE: Final = 0.01
"""Part of a figure by which the median must move for a verdict, beside the spread."""


class Verdict(Enum):
    """Outcome of the comparison of a figure."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNKNOWN = "too few samples"


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of ours, in an earlier run and in a new run."""

    row: Row
    size: int
    before: Spread
    now: Spread

    @property
    def ratio(self) -> float | None:
        """How many times as good the new median is: above 1 is better, whatever the unit.

        New over old where a higher figure is better, old over new where a lower figure is better;
        None where a median is not above 0, as the growth of something may be.
        """
        better, worse = self.now.median, self.before.median
        if self.row.unit.better == "lower":
            better, worse = worse, better
        return better / worse if better > 0 and worse > 0 else None

    @property
    def spread(self) -> float:
        """The larger range of samples of the two runs, in the row's unit."""
        return max(self.before.width, self.now.width)

    @property
    def verdict(self) -> Verdict:
        """Whether the median moved by more than the spread and `LEAST_CHANGE`, and which way."""
        if min(self.before.count, self.now.count) < LEAST_SAMPLES:
            return Verdict.UNKNOWN
        gain = self.now.median - self.before.median
        if self.row.unit.better == "lower":
            gain = -gain
        ratio = self.ratio
        slight = ratio is not None and abs(ratio - 1) < LEAST_CHANGE
        if slight or abs(gain) <= self.spread:
            return Verdict.SAME
        return Verdict.BETTER if gain > 0 else Verdict.WORSE


def changes_since(baseline: Baseline, lines: Sequence[Line]) -> list[Change]:
    """Return the change of every figure of ours that both runs have, in the order of `lines`."""
    found = []
    for line in lines:
        before, now = baseline.spread_in(line), line.spread(OURS)
        if before is not None and now is not None:
            found.append(Change(line.row, line.size, before, now))
    return found


def unmatched(baseline: Baseline, lines: Sequence[Line]) -> tuple[str, str]:
    """Return, as text, the rows that have our figure only in the file, and only in the new run."""
    changed = {(change.row.key, change.size) for change in changes_since(baseline, lines)}
    ours = [(line.row.key, line.size) for line in lines if line.spread(OURS) is not None]
    return (
        _listed([place for place in baseline.places() if place not in changed]),
        _listed([place for place in ours if place not in changed]),
    )


def _listed(places: Sequence[tuple[str, int]]) -> str:
    sizes: dict[str, list[str]] = {}
    for row, size in places:
        sizes.setdefault(row, []).append(f"{size:,}")
    return "; ".join(f"{row} at {' and '.join(each)}" for row, each in sizes.items())
