"""The picture of a benchmark run."""

from __future__ import annotations

import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.measuring.sampling import Sample
from tokengate_mp.bench.results.plot import SUFFIXES, refuse_unplottable, speed_ups, throughput
from tokengate_mp.bench.results.report import Line
from tokengate_mp.bench.rows.all_rows import ROWS
from tokengate_mp.cli import arguments, main


def line(key, size, **raws):
    """Make a line of the given raw samples, by competitor, round after round."""
    samples = [
        Sample(name, turn, raw, None if raw is not None else "broke")
        for name, row in raws.items()
        for turn, raw in enumerate(row)
    ]
    return Line(ROWS[key], size, 2, samples)


LINES = [
    line("noop", 1_024, tokengate_mp=[0.01, 0.02, 0.015], PPE=[0.1, 0.1, 0.1], loky=[None] * 3),
    line("noop", 64, tokengate_mp=[0.001], PPE=[0.01]),
    line("mix", 16_384, tokengate_mp=[1.0], loop=[1.5]),
    line("1ms", 2_000, tokengate_mp=[1.0, 2.0], loop=[2.0, 3.6], Pool=[None, 2.4]),
    line("10us", 10_000, tokengate_mp=[0.2], loop=[0.1]),
    line("trip", 1_000, tokengate_mp=[0.0001]),
]


def test_throughput_is_tokens_a_second_by_their_number():
    """The medians, in order of the number of tokens; who failed is not there."""
    assert throughput(LINES[:2]) == {
        OURS: [(64, 64 / 0.001), (1_024, 1_024 / 0.015)],
        "PPE": [(64, 64 / 0.01), (1_024, 1_024 / 0.1)],
    }


def test_speed_up_is_over_a_plain_loop_in_the_same_round():
    """The median of the ratios within rounds, by how long a token takes."""
    curves = speed_ups(LINES)
    assert curves[OURS] == [(0.01, 0.5), (1, pytest.approx(1.9))]
    assert curves["Pool"] == [(1, pytest.approx(1.5))]
    assert curves["loop"] == [(0.01, 1), (1, 1)]


# In an interpreter of its own: matplotlib keeps font files open for the life of a process.
DRAW = """
import sys
from pathlib import Path
from test_plot import LINES
from tokengate_mp.bench.results.plot import draw
folder = Path(sys.argv[1])
draw(LINES, folder / "all.svg")
draw(LINES, folder / "all.png")
draw(LINES[:1], folder / "a.svg")
draw(LINES[3:4], folder / "b.SVG")
assert "matplotlib.pyplot" not in sys.modules
"""


def run(*words):
    """Run Python with these words, in the directory of this file."""
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
        timeout=55,
    )


def test_pictures_are_drawn(tmp_path):
    """With a panel for each row that is a rate, and one of speed-ups; one kind alone is enough."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = run("-c", DRAW, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    for name in ("all.svg", "a.svg", "b.SVG"):
        assert (tmp_path / name).read_text("utf-8").rstrip().endswith("</svg>")
    content = (tmp_path / "all.svg").read_text("utf-8")
    for words in ("no-op: throughput", "mix: throughput", "Speed-up over a plain loop", OURS):
        assert words in content


def test_what_cannot_be_drawn_is_found_before_measuring(monkeypatch, capsys, tmp_path):
    """A wrong suffix, no row to draw, no folder, no matplotlib: each ends in code 2 at once."""
    with pytest.raises(SystemExit) as refused:
        main(["bench", "--plot", "picture.gif"])
    assert refused.value.code == 2
    assert "'picture.gif' ends in none of .svg, .png" in capsys.readouterr().err
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert main(["bench", "--only", "trip", "--plot", str(tmp_path / "a.svg")]) == 2
    assert "none of them was asked for" in capsys.readouterr().err
    assert main(["bench", "--quick", "--plot", str(tmp_path / "no" / "a.svg")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    find = util.find_spec
    monkeypatch.setattr(
        "tokengate_mp.bench.results.plot.find_spec",
        lambda name: None if name == "matplotlib" else find(name),
    )
    assert main(["bench", "--quick", "--plot", str(tmp_path / "a.svg")]) == 2
    assert "pip install 'tokengate_mp[plot]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_it_runs_from_the_command_line(tmp_path):
    """A quick run of two rows leaves a picture."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    file = tmp_path / "quick.svg"
    words = ["--quick", "--only", "noop,1ms", "--against", "loop", "--cores", "2"]
    done = run("-m", "tokengate_mp", "bench", *words, "--plot", str(file))
    assert done.returncode == 0, done.stderr
    assert OURS in file.read_text("utf-8")


def test_rows_at_several_durations():
    """From 10 µs to 10 ms, each against a plain loop; and what parsing knows of it is true."""
    timed = {row.milliseconds for row in ROWS.values() if row.milliseconds is not None}
    assert timed == {0.01, 0.1, 1, 10}
    assert all("loop" in row.competitors for row in ROWS.values() if row.milliseconds)
    assert arguments.PICTURES == SUFFIXES
    refuse_unplottable(tuple(ROWS))
