"""Takes every sample of a benchmark run, line by line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tokengate_mp.bench.measuring.competitors import COMPETITORS, OURS, installed
from tokengate_mp.bench.measuring.sampling import Sample, rotations
from tokengate_mp.bench.results.report import Line
from tokengate_mp.bench.rows.all_rows import ROWS
from tokengate_mp.bench.rows.row import Row


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows, competitors and rounds of a run.

    Attributes:
        rows: Keys of `ROWS`, in order.
        cores: Worker processes of every competitor.
        rounds: Samples of each competitor in each line.
        against: Whom to compare with, beside ourselves.
        quick: Whether to take each row's few small sizes, which show that it works and no more.
    """

    rows: tuple[str, ...]
    cores: int
    rounds: int
    against: tuple[str, ...] = tuple(COMPETITORS)
    quick: bool = False

    def lines(self) -> Iterator[Line]:
        """Yield every line still to be measured, without samples."""
        for key in self.rows:
            row = ROWS[key]
            if not row.possible:
                continue
            for size in row.quick_sizes if self.quick else row.sizes:
                yield Line(row, size, self.cores, ())

    def contestants(self, row: Row, size: int) -> list[str]:
        """Return the competitors that can be measured in a row at a size, on this machine."""
        asked = {OURS, *self.against}
        return [
            name
            for name in row.competitors
            if name in asked and installed(name) and not row.capped(name, size)
        ]


def measured(line: Line, plan: Plan, progress: Callable[[str, int], None]) -> Line:
    """Return `line` with all its samples taken.

    Args:
        line: What to measure.
        plan: Against whom, and how many samples of each.
        progress: Called with (competitor, round) before each sample.
    """
    samples: list[Sample] = []
    for turn, name in rotations(plan.contestants(line.row, line.size), plan.rounds):
        progress(name, turn)
        samples.append(line.row.sample(name, line.size, line.cores, turn))
    return replace(line, samples=samples)
