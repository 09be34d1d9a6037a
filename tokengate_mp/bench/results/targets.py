"""What the figures are held against (set for 2 cores), and whether they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on our own figure, or on our speed against a competitor's.

    With `against`, the bound is on how many times as fast as that competitor we are; without, on
    the figure in the row's unit.
    """

    row: str
    size: int
    bound: float
    against: str | None = None
    at_least: bool = True
    aim: float | None = None
    """What is hoped for beyond the bound; shown, not held."""
    note: str = ""
    """The bound in the words it was set in, where those differ."""

    def held(self, value: float) -> bool:
        """Return whether `value` is within the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    def text(self) -> str:
        """Return the bound in a few characters."""
        bound = f"{self.bound:,.0f}" if self.bound >= 100 else f"{self.bound:.3g}"
        sign = "≥" if self.at_least else "≤"
        against = f" x {self.against}" if self.against else ""
        aim = f", aim {self.aim:g}" if self.aim else ""
        note = f" ({self.note})" if self.note else ""
        return f"{sign} {bound}{against}{aim}{note}"


TARGETS: Final = (
    Target("noop", 65_536, 20, "PPE", aim=30),
    Target("noop", 65_536, 5, "Pool"),
    Target("noop", 65_536, 0.5, "asyncio", aim=0.7),
    Target("noop", 1_048_576, 0.5, "asyncio"),
    Target("trip", 1_000, 1 / 0.3, "PPE", note="0.3 of its time"),
    Target("mix", 65_536, 1.75, "loop"),
    Target("mix", 65_536, 4, "PPE"),
    Target("1ms", 2_000, 0.96),
    Target("10ms", 400, 0.99),
    Target("uneven", 200, 1.1, at_least=False),
    Target("start", 1, 5, at_least=False),
    Target("first", 1, 150, at_least=False),
    Target("joblib", 2_000, 1, "joblib", note="on loky: not slower"),
    Target("joblib-first", 1, 2, "joblib", note="on loky: half of its time"),
    Target("memory", 1_048_576, 1_000, at_least=False),
    Target("submit", 16_384, 8, "PPE"),
    Target("map", 262_144, 1, "Pool"),
    Target("map-mix", 65_536, 1, "Pool"),
    Target("map-uneven", 200, 1.05, "Pool"),
    Target("there", 64, 12, "PPE", note="1/12 of its time"),
    Target("back", 64, 8, "PPE", note="1/8 of its time"),
    Target("shared", 100, 50, "PPE", note="1/50 of its time"),
    Target("stall", 200, 25, at_least=False),
    Target("growth", 16_384, 4, at_least=False, note="nothing grows"),
    Target("child", 2_000, 15, at_least=False),
    Target("chained", 2_000, 3),
    Target("diamond", 100_000, 0.5),
    Target("tagged", 65_536, 0.75, note="a quarter at the most"),
    Target("kill", 20, 20, at_least=False),
    Target("stuck", 5, 300, at_least=False),
    Target("replaced", 5, 250, at_least=False),
    Target("guarded", 65_536, 0.85),
)
"""Every target of the benchmark.

Memory is given out in pages and arenas, so a growth of exactly 0 is not to be had; 4 bytes a token
are a quarter of the smallest object that each could leave behind.
"""


def targets_for(row: str, size: int) -> list[Target]:
    """Return the targets of that row at that size."""
    return [target for target in TARGETS if (target.row, target.size) == (row, size)]
