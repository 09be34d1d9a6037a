"""What was measured as a picture: throughput against token count, speed-up against duration.

Drawn by matplotlib, an extra, without a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tokengate_mp.bench.measuring.competitors import COMPETITORS, OURS
from tokengate_mp.bench.results.report import Line
from tokengate_mp.bench.rows.all_rows import ROWS

SUFFIXES: Final = (".svg", ".png")

_RATE: Final = "tok/s"
_WIDTH: Final = 6.4
_HEIGHT: Final = 4.8


def refuse_unplottable(rows: Sequence[str]) -> None:
    """Refuse, before anything is measured, a run of which nothing could be drawn.

    Args:
        rows: Keys of the rows that will be measured.

    Raises:
        ValueError: matplotlib is not installed, or these rows are about something else.
    """
    if find_spec("matplotlib") is None:
        raise ValueError(
            "--plot draws with matplotlib, which is not installed: pip install 'tokengate_mp[plot]'"
        )
    drawn = [row.key for row in ROWS.values() if _is_rate(row.key) or row.milliseconds is not None]
    if not set(drawn) & set(rows):
        raise ValueError(
            f"--plot shows the rows {', '.join(drawn)}, and none of them was asked for with --only"
        )


def draw(lines: Sequence[Line], file: Path) -> None:
    """Draw the lines of a run.

    Args:
        lines: The lines of a run.
        file: Where to; its suffix says how, and is one of `SUFFIXES`.

    Raises:
        OSError: It cannot be written.
    """
    panels = [key for key in dict.fromkeys(line.row.key for line in lines) if _is_rate(key)]
    timed = [line for line in lines if line.row.milliseconds is not None]
    count = len(panels) + bool(timed)
    figure: Any = import_module("matplotlib.figure").Figure(
        figsize=(_WIDTH * count, _HEIGHT), layout="constrained"
    )
    places = iter(figure.subplots(1, count, squeeze=False)[0])
    for key in panels:
        axes = next(places)
        _label(axes, f"{ROWS[key].title}: throughput", "tokens", "tokens a second")
        axes.set_yscale("log")
        _curves(axes, throughput([line for line in lines if line.row.key == key]))
    if timed:
        axes = next(places)
        _label(axes, "Speed-up over a plain loop", "duration of a token, ms", "times as fast")
        axes.axhline(timed[0].cores, color="grey", linestyle=":", label=f"{timed[0].cores} cores")
        _curves(axes, speed_ups(timed))
    figure.savefig(file, format=file.suffix[1:].lower())


Curves = dict[str, list[tuple[float, float]]]
"""Points by competitor."""


def throughput(lines: Sequence[Line]) -> Curves:
    """How many tokens a second each competitor ran, by how many tokens there were."""
    return _by_competitor([(line.size, line, line.figure) for line in lines])


def speed_ups(lines: Sequence[Line]) -> Curves:
    """How many times as fast as a plain loop each was, by how long a token takes, ms."""
    return _by_competitor(
        [
            (line.row.milliseconds, line, line.speed_up)
            for line in lines
            if line.row.milliseconds is not None
        ]
    )


def _by_competitor(points: Sequence[tuple[float, Line, Any]]) -> Curves:
    curves: Curves = {}
    for across, line, figure in points:
        for name in dict.fromkeys(sample.competitor for sample in line.samples):
            value = figure(name)
            if value is not None:
                curves.setdefault(name, []).append((across, value))
    return {name: sorted(curves[name]) for name in COMPETITORS if name in curves}


def _is_rate(key: str) -> bool:
    return ROWS[key].unit.name == _RATE


def _label(axes: Any, title: str, across: str, up: str) -> None:
    axes.set(title=title, xlabel=across, ylabel=up, xscale="log")
    axes.grid(visible=True, alpha=0.3)


def _curves(axes: Any, curves: Curves) -> None:
    for name, points in curves.items():
        # Each competitor has one colour in every panel, whoever else is there.
        axes.plot(
            [across for across, _ in points],
            [up for _, up in points],
            marker="o",
            markersize=4,
            linewidth=2.5 if name == OURS else 1.2,
            color=f"C{list(COMPETITORS).index(name)}",
            label=name,
        )
    axes.legend(fontsize="small")
