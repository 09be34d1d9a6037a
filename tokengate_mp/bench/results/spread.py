"""Median and range of the samples of one figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, median and largest sample of a figure, in the figure's unit."""

    min: float
    median: float
    max: float
    count: int

    @property
    def width(self) -> float:
        """Largest less smallest sample; 0 for a single sample."""
        return self.max - self.min


def spread_of(figures: Sequence[float]) -> Spread | None:
    """Return the spread of some samples; None if there is no sample."""
    if not figures:
        return None
    return Spread(min(figures), statistics.median(figures), max(figures), len(figures))
