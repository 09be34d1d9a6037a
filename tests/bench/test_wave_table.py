from __future__ import annotations

from types import SimpleNamespace

import pytest

from tokengate_mp.bench.demos.burst import Window, burst_figures, duration_ns
from tokengate_mp.bench.demos.waves import COLUMNS, Wave, wave_sizes

MS = 1_000_000


def timing(created, started, finished):
    """Make what a token says of itself."""
    return SimpleNamespace(created=created, admitted=created, started=started, finished=finished)


def test_fifteen_waves_double_from_four():
    """The sizes go from 4 to 65,536 and make 131,068 tokens in all."""
    sizes = wave_sizes(15)
    assert sizes[:3] == [4, 8, 16]
    assert sizes[-1] == 65_536
    assert sum(sizes) == 131_068


def test_the_columns_of_a_wave():
    """Each column is what the spec says it is, worked out by hand."""
    first = Wave(number=1, tokens=4, failed=0, elapsed=2 * MS, task=1 * MS, cpu=1 * MS)
    wave = Wave(number=9, tokens=1024, failed=24, elapsed=64 * MS, task=160 * MS, cpu=112 * MS)
    cells = dict(zip(COLUMNS, wave.cells(first), strict=True))
    assert cells == {
        "Wave": "9",
        "Tokens": "1,024",
        "OK": "1,000",
        "Fail": "24",
        "Time": "0.064 s",
        "Tok/s": "16,000",
        "Lat(ms)": "0.0625",
        "Conc": "8.00x",
        "Overlap": "2.50x",
        "ΣTask(ms)": "160.0",
        "ΣCPU/t": "1.75x",
    }


def test_the_first_wave_is_its_own_measure():
    """The concurrency of wave 1 is 1."""
    wave = Wave(number=1, tokens=4, failed=0, elapsed=3 * MS, task=MS, cpu=MS)
    assert wave.concurrency(wave) == 1


def test_burst_figures_by_hand():
    """Three tokens of 40, 50 and 60 ms within 100 ms are 1.5 at a time."""
    timings = [
        timing(0, 1 * MS, 41 * MS),
        timing(2 * MS, 3 * MS, 53 * MS),
        timing(3 * MS, 41 * MS, 101 * MS),
    ]
    burst = burst_figures(timings, wall_ns=100 * MS, cpu_ns=120 * MS)
    assert (burst.tokens, burst.submit_spread, burst.wall) == (3, 3, 100)
    assert (burst.shortest, burst.longest, burst.mean, burst.deviation) == (40, 60, 50, 10)
    assert (burst.serial, burst.ratio, burst.cpu_ratio) == (150, 1.5, 1.2)


def test_a_burst_of_one_has_no_deviation():
    """A single duration deviates from nothing."""
    assert burst_figures([timing(0, 0, MS)], MS, MS).deviation == 0


@pytest.mark.parametrize(("started", "finished"), [(None, None), (5, None)])
def test_a_token_that_never_ran_has_no_duration(started, finished):
    """A killed token adds nothing to a sum of durations."""
    assert duration_ns(timing(0, started, finished)) == 0


def test_a_window_without_tokens_has_figures():
    """Before the first release has ended every rate is 0, not an error."""
    window = Window()
    assert (window.rate, window.ratio, window.cpu_ratio) == (0, 0, 0)


def test_a_window_by_hand():
    """Rates are per second, ratios are over the elapsed time."""
    window = Window(tokens=500, elapsed=250 * MS, task=500 * MS, cpu=400 * MS)
    assert (window.rate, window.ratio, window.cpu_ratio) == (2000, 2, 1.6)
