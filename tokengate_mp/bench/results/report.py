"""What the samples come to: medians, ratios and targets, and everything else for a JSON file.

A ratio says how many times as fast as a competitor we are (for memory: how many times as small). It
is the median of the ratios within each round, in which both were measured seconds apart, so that a
machine that is slower in one round than in another does not tilt it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.measuring.sampling import Sample
from tokengate_mp.bench.results.spread import Spread, spread_of
from tokengate_mp.bench.results.targets import Target, targets_for
from tokengate_mp.bench.rows.row import Row

SCHEMA = 1
"""Version of the JSON document; raised when a field changes its meaning."""


@dataclass(frozen=True, slots=True)
class Held:
    """A target with the value measured; `value` is None where nothing could be measured."""

    target: Target
    value: float | None

    @property
    def met(self) -> bool:
        """Whether there is a value within the bound."""
        return self.value is not None and self.target.held(self.value)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: a row at a size, with all its samples."""

    row: Row
    size: int
    cores: int
    samples: Sequence[Sample]

    def raws(self, name: str) -> dict[int, float]:
        """Return the raw samples of a competitor by round, without failed samples."""
        return {
            sample.turn: sample.raw
            for sample in self.samples
            if sample.competitor == name and sample.raw is not None
        }

    def median(self, name: str) -> float | None:
        """Return the median raw sample of a competitor; None without samples."""
        raws = self.raws(name)
        return statistics.median(raws.values()) if raws else None

    def ratio(self, name: str) -> float | None:
        """Return how many times as fast as that competitor we are; None if that is not known."""
        ours, theirs = self.raws(OURS), self.raws(name)
        ratios = [theirs[turn] / ours[turn] for turn in ours if turn in theirs and ours[turn]]
        return statistics.median(ratios) if ratios else None

    def speed_up(self, name: str) -> float | None:
        """Return how many times as fast as a plain loop a competitor is; None if not known."""
        loop, raws = self.raws("loop"), self.raws(name)
        ratios = [loop[turn] / raws[turn] for turn in raws if turn in loop and raws[turn]]
        return statistics.median(ratios) if ratios else None

    def figure(self, name: str) -> float | None:
        """Return the median of a competitor in the row's unit."""
        median = self.median(name)
        return None if median is None else self.row.unit.figure(median, self.size, self.cores)

    def figure_text(self, name: str) -> str:
        """Return the figure of a competitor as text; a dash where there is none."""
        figure = self.figure(name)
        return "-" if figure is None else self.row.unit.text(figure)

    def spread(self, name: str) -> Spread | None:
        """Return median and range of a competitor's samples, in the row's unit; None if none."""
        unit = self.row.unit
        return spread_of(
            [unit.figure(raw, self.size, self.cores) for raw in self.raws(name).values()]
        )

    def ratio_text(self, name: str) -> str:
        """Return the ratio as text, or in a word why there is none."""
        if name not in self.row.competitors:
            return ""
        if self.row.capped(name, self.size):
            return f"≤{self.row.caps[name]:,}"
        ratio = self.ratio(name)
        if ratio is not None:
            return ratio_text(ratio)
        return "failed" if self.errors(name) else "-"

    def errors(self, name: str) -> list[str]:
        """Return the errors of a competitor's samples, each message once."""
        return sorted({s.error for s in self.samples if s.competitor == name and s.error})

    def held(self) -> list[Held]:
        """Return the line's targets, without targets against competitors that were not asked."""
        asked = {sample.competitor for sample in self.samples}
        return [
            Held(t, self.ratio(t.against) if t.against else self.figure(OURS))
            for t in targets_for(self.row.key, self.size)
            if t.against is None or t.against in asked
        ]

    def document(self) -> dict[str, Any]:
        """Return the line as plain data."""
        names = dict.fromkeys(sample.competitor for sample in self.samples)
        return {
            "row": self.row.key,
            "title": self.row.title,
            "meaning": self.row.meaning,
            "size": self.size,
            "unit": self.row.unit.name,
            "better": self.row.unit.better,
            "figures": {name: self.figure(name) for name in names},
            "spread": {
                name: None if spread is None else asdict(spread)
                for name, spread in ((name, self.spread(name)) for name in names)
            },
            "ratios": {name: self.ratio(name) for name in names if name != OURS},
            "capped": {
                name: cap for name, cap in self.row.caps.items() if self.row.capped(name, self.size)
            },
            "targets": [
                {**asdict(held.target), "value": held.value, "met": held.met}
                for held in self.held()
            ],
            "samples": [asdict(sample) for sample in self.samples],
        }


def ratio_text(ratio: float) -> str:
    """Return a ratio as text, with as many decimals as three digits bear."""
    if ratio < 0.01:
        return "<0.01x"
    decimals = 2 if ratio < 10 else 1 if ratio < 100 else 0
    return f"{ratio:,.{decimals}f}x"


def document(
    lines: Sequence[Line], facts: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Return the whole run as plain data for JSON: `facts` of the machine, and every raw sample."""
    return {
        "schema": SCHEMA,
        "machine": facts,
        "settings": settings,
        "lines": [line.document() for line in lines],
    }
