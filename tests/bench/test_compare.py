"""A run compared with an earlier one."""

from __future__ import annotations

import json

import pytest

from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.measuring.sampling import Sample
from tokengate_mp.bench.results.baseline import BaselineError, read_baseline
from tokengate_mp.bench.results.changes import Change, Verdict, changes_since, unmatched
from tokengate_mp.bench.results.report import Line, document
from tokengate_mp.bench.results.spread import Spread, spread_of
from tokengate_mp.bench.rows.all_rows import ROWS
from tokengate_mp.cli import main
from tokengate_mp.cli.arguments import parse

MACHINE = {
    "tokengate_mp": "0.9",
    "python": "3.11.1",
    "cpu": "a CPU",
    "cpu_count": 2,
    "memory_bytes": 8 << 30,
    "usable_cpus": [0, 1],
    "packages": {"msgspec": "0.20", "loky": None},
}


def line(key="trip", size=1_000, *raws):
    """Make a line of ours; None for a sample that failed."""
    samples = [
        Sample(OURS, turn, raw, None if raw is not None else "broke")
        for turn, raw in enumerate(raws)
    ]
    return Line(ROWS[key], size, 2, samples)


def write(file, *lines, machine=MACHINE, cores=2):
    """Write a file as a run does, and return it."""
    settings = {"cores": cores, "started": "2030-01-02T03:04:05.678+00:00"}
    file.write_text(json.dumps(document(lines, machine, settings)), "utf-8")
    return file


def change(key, size, before, now):
    """Make the change of a figure whose samples are these."""
    return Change(ROWS[key], size, spread_of(before), spread_of(now))


def test_a_spread_is_median_and_range():
    """And there is none without samples."""
    assert spread_of([3.0, 1.0, 2.5]) == Spread(1.0, 2.5, 3.0, 3)
    assert spread_of([3.0, 1.0, 2.5]).width == 2.0
    assert spread_of([]) is None


@pytest.mark.parametrize("key", ROWS)
def test_each_row_knows_which_way_is_better(key):
    """Less of what is measured is better, so a figure that falls with that is better if higher."""
    row = ROWS[key]
    size = row.sizes[0]
    fast, slow = row.unit.figure(1.0, size, 2), row.unit.figure(2.0, size, 2)
    assert (fast > slow) == (row.unit.better == "higher")


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ([100, 102, 104], [107, 108, 109], Verdict.WORSE),  # 6 µs, and they spread by 4
        ([100, 102, 104], [104, 106, 107], Verdict.SAME),  # 4 µs, and so do they
        ([100, 102, 104], [95, 97, 98], Verdict.BETTER),
        ([100, 102, 104], [102, 102, 102], Verdict.SAME),
        ([100, 100, 100], [102, 102, 102], Verdict.WORSE),
        ([100, 100, 100], [100.9, 100.9, 100.9], Verdict.SAME),  # less than one in a hundred
        ([100, 102, 104], [105, 109, 113], Verdict.SAME),  # the new run spreads by 8
        ([100, 102], [200, 202, 204], Verdict.UNKNOWN),
        ([100, 102, 104], [200], Verdict.UNKNOWN),
    ],
)
def test_a_time_is_worse_if_it_is_longer_by_more_than_its_spread(before, now, verdict):
    """The range of whichever run has the larger one is the measure; two samples are too few."""
    assert change("trip", 1_000, before, now).verdict is verdict


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ([100, 102, 104], [95, 96, 97], Verdict.WORSE),
        ([100, 102, 104], [107, 108, 109], Verdict.BETTER),
        ([100, 102, 104], [98, 99, 100], Verdict.SAME),
    ],
)
def test_a_rate_is_worse_if_it_is_lower(before, now, verdict):
    """The other way round than a time."""
    assert change("noop", 4, before, now).verdict is verdict


def test_a_ratio_above_1_is_better_whatever_the_unit():
    """A rate that has doubled and a time that has halved are both 2."""
    assert change("noop", 4, [50.0], [100.0]).ratio == 2
    assert change("trip", 1_000, [100.0], [50.0]).ratio == 2
    assert change("memory", 1_048_576, [380.0], [760.0]).ratio == 0.5


def test_what_may_be_0_has_no_ratio_and_yet_a_verdict():
    """Growth is next to nothing, above it or below: only by how much it has changed counts."""
    grown = change("growth", 16_384, [-0.1, 0.0, 0.1], [4.0, 4.0, 4.1])
    assert grown.ratio is None
    assert grown.verdict is Verdict.WORSE
    assert change("growth", 16_384, [-0.1, 0, 0.1], [0.2, 0.1, 0]).verdict is Verdict.SAME


def test_what_a_run_has_written_is_read(tmp_path):
    """Samples come back as figures in the row's unit; those that failed are left out."""
    measured = line("noop", 4, 2.0, None, 1.0, 4.0)
    baseline = read_baseline(write(tmp_path / "a.json", measured))
    assert baseline.cores == 2
    assert baseline.title == f"{tmp_path / 'a.json'} (tokengate_mp 0.9, 2030-01-02 03:04:05)"
    assert baseline.spread_in(measured) == measured.spread(OURS) == Spread(1.0, 2.0, 4.0, 3)
    assert baseline.spread_in(line("noop", 64)) is None


def test_what_is_written_says_unit_direction_and_spread(tmp_path):
    """So that a reader of the file needs nothing else to compare it."""
    file = write(tmp_path / "a.json", line("noop", 4, 2.0, 1.0), line("trip", 1_000, None))
    rate, time = json.loads(file.read_text("utf-8"))["lines"]
    assert (rate["unit"], rate["better"]) == ("tok/s", "higher")
    assert rate["spread"] == {OURS: {"min": 2.0, "median": 3.0, "max": 4.0, "count": 2}}
    assert (time["unit"], time["better"], time["spread"]) == ("µs", "lower", {OURS: None})


def test_a_file_of_the_first_version_is_read(tmp_path):
    """It has neither direction nor spread, and its samples are enough."""
    file = write(tmp_path / "a.json", line("trip", 1_000, 1e-4))
    whole = json.loads(file.read_text("utf-8"))
    for each in whole["lines"]:
        del each["better"], each["spread"]
    file.write_text(json.dumps(whole), "utf-8")
    assert read_baseline(file).spread_in(line()).median == pytest.approx(100)


def test_a_row_in_another_unit_is_another_row(tmp_path):
    """Its figures are not compared, and both are listed."""
    file = write(tmp_path / "a.json", line("trip", 1_000, 1.0), line("noop", 4, 1.0))
    file.write_text(file.read_text("utf-8").replace(json.dumps("µs"), '"ms"'), "utf-8")
    baseline, now = read_baseline(file), [line("trip", 1_000, 1.0), line("noop", 4, 1.0)]
    assert [each.row.key for each in changes_since(baseline, now)] == ["noop"]
    assert unmatched(baseline, now) == ("trip at 1,000", "trip at 1,000")


def test_rows_of_one_run_only_are_listed(tmp_path):
    """With their sizes; a row that failed is as if it had not been measured."""
    before = [line("noop", size, 1.0) for size in (4, 64, 1_024)] + [line("10ms", 400, 1.0)]
    now = [line("noop", 4, 1.0), line("noop", 64, None), line("trip", 1_000, 1.0)]
    baseline = read_baseline(write(tmp_path / "a.json", *before))
    assert unmatched(baseline, now) == ("noop at 64 and 1,024; 10ms at 400", "trip at 1,000")


def test_another_machine_and_other_software_are_told(tmp_path):
    """Each with what it was and is; a few kilobytes of memory are no other machine."""
    baseline = read_baseline(write(tmp_path / "a.json", line()))
    assert baseline.differences({**MACHINE, "memory_bytes": (8 << 30) - 4096}) == []
    machine, software = baseline.differences(
        {
            **MACHINE,
            "cpu": "another",
            "usable_cpus": [1],
            "python": "3.12.0",
            "packages": {"msgspec": "0.21", "loky": "3", "psutil": "7"},
        }
    )
    assert machine == "Another machine: CPU was a CPU, is another; usable CPUs was 0, 1, is 1."
    assert software == (
        "Other software: Python was 3.11.1, is 3.12.0; msgspec was 0.20, is 0.21; "
        "loky was not there, is 3."
    )


def rewritten(**changes):
    """Return what a file holds in which these fields are others."""
    whole = document([line("trip", 1_000, 1.0)], MACHINE, {"cores": 2})
    return json.dumps({**whole, **changes})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("\udcff", "is no JSON"),
        ("[]", "it names no schema"),
        ('{"machine": {}}', "it names no schema"),
        (rewritten(schema=2), "has schema 2, and this version of tokengate_mp compares with"),
        (rewritten(schema="1"), "has schema '1'"),
        (rewritten(lines=3), "is no file of `bench --json`, or is damaged"),
        (rewritten(lines=[{}]), "or is damaged: KeyError: 'row'"),
        (rewritten(settings={}), "or is damaged: KeyError: 'cores'"),
        (rewritten(machine=None), "or is damaged"),
        (rewritten().replace('"raw": 1.0', '"raw": "much"'), "or is damaged: ValueError"),
        (rewritten().replace('"raw": 1.0', '"raw": NaN'), "nan is no sample"),
    ],
)
def test_a_file_that_no_run_has_written_is_refused(tmp_path, text, complaint):
    """The message names the file and says what is wrong with it."""
    file = tmp_path / "a.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BaselineError) as refused:
        read_baseline(file)
    assert str(refused.value).startswith(str(file))
    assert complaint in str(refused.value)


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path):
    """As one that cannot be read."""
    with pytest.raises(BaselineError, match="cannot be read: No such file"):
        read_baseline(tmp_path / "a.json")
    with pytest.raises(BaselineError, match="cannot be read: Is a directory"):
        read_baseline(tmp_path)


def test_what_cannot_be_compared_is_found_before_measuring(tmp_path):
    """Another number of cores, no row in common, and a duration of nothing."""
    baseline = read_baseline(write(tmp_path / "a.json", line("trip", 1_000, 1.0)))
    baseline.refuse_incomparable([line("noop", 4), line("trip", 1_000)], 2)
    with pytest.raises(BaselineError, match="on 2 cores, and this run has 3: --cores 2 gives"):
        baseline.refuse_incomparable([line("trip", 1_000)], 3)
    with pytest.raises(BaselineError, match="no figure in common with this run: its rows are trip"):
        baseline.refuse_incomparable([line("noop", 4), line("trip", 20)], 2)
    failed = read_baseline(write(tmp_path / "b.json", line("trip", 1_000, None)))
    with pytest.raises(BaselineError, match="its rows are none"):
        failed.refuse_incomparable([line("trip", 1_000)], 2)
    file = write(tmp_path / "c.json", line("noop", 4, 1.0))
    file.write_text(file.read_text("utf-8").replace('"raw": 1.0', '"raw": 0'), "utf-8")
    with pytest.raises(BaselineError, match="a sample of noop at 4 is 0"):
        read_baseline(file).refuse_incomparable([line("noop", 4)], 2)


@pytest.fixture
def run_with(monkeypatch, capsys):
    """Run the command with these samples for each line; return exit code, output and errors."""

    def run(raws, *words):
        monkeypatch.setattr(
            "tokengate_mp.cli.bench.measured",
            lambda line, plan, progress: Line(
                line.row,
                line.size,
                line.cores,
                [Sample(OURS, turn, raw) for turn, raw in enumerate(raws)],
            ),
        )
        code = main(["bench", "--cores", "2", "--against", "none", *words])
        return code, *capsys.readouterr()

    return run


def test_the_exit_code_says_whether_a_figure_is_worse(tmp_path, run_with):
    """The table has both medians, the ratio, and a verdict; what is in one run only is listed."""
    file = write(
        tmp_path / "a.json", line("trip", 1_000, 1e-4, 1.1e-4, 0.9e-4), line("10ms", 400, 1.0)
    )
    words = ["--only", "trip,1ms", "--compare", str(file)]
    code, out, _ = run_with([1e-4, 1.05e-4, 1e-4], *words)
    assert (code, "same" in out, "1.00x" in out) == (0, True, True)
    code, out, _ = run_with([2e-4, 2e-4, 2e-4], *words)
    assert (code, "✗ worse" in out, "0.50x" in out) == (1, True, True)
    assert "100.0 µs" in out
    assert "200.0 µs" in out
    assert "20.0 µs" in out  # the spread
    assert "Only in" in out
    assert "10ms at 400." in out
    assert "Only in this run: 1ms at 2,000." in out
    code, out, _ = run_with([1e-5, 1e-5, 1e-5], *words)
    assert (code, "✓ better" in out, "10.0x" in out) == (0, True, True)
    code, out, _ = run_with([2e-4, 2e-4], *words)
    assert (code, "too few samples" in out, "--repeat 3" in out) == (0, True, True)


def test_a_file_to_compare_with_is_looked_at_before_measuring(tmp_path, run_with):
    """Exit code 2 and one line, and nothing is measured or written."""
    code, out, errors = run_with([1.0], "--compare", str(tmp_path / "none.json"))
    assert (code, out) == (2, "")
    assert "none.json cannot be read" in errors
    file = write(tmp_path / "a.json", line("trip", 1_000, 1.0))
    code, out, errors = run_with([1.0], "--only", "noop", "--compare", str(file))
    assert (code, out) == (2, "")
    assert "no figure in common" in errors
    before = file.read_text("utf-8")
    code, out, errors = run_with([1.0], "--compare", str(file), "--json", str(file))
    assert (code, out) == (2, "")
    assert "would overwrite it" in errors
    assert file.read_text("utf-8") == before


def test_another_machine_is_said(tmp_path, run_with):
    """Before the table, and it changes no verdict."""
    file = write(tmp_path / "a.json", line("trip", 1_000, 1.0))
    code, out, _ = run_with([1.0], "--only", "trip", "--compare", str(file))
    assert code == 0
    assert "✗ Another machine: CPU was a CPU, is" in out


def test_nobody_may_be_compared_with():
    """The word for that stands alone."""
    assert parse(["bench", "--against", "none"]).against == ()
    with pytest.raises(SystemExit):
        parse(["bench", "--against", "none,PPE"])


@pytest.mark.timeout(120)  # two runs of three samples each
def test_two_runs_are_compared(tmp_path):
    """What the one has written the other reads, whatever the verdict."""
    file = tmp_path / "a.json"
    words = ["bench", "--quick", "--only", "trip,chained", "--against", "none", "--cores", "1"]
    assert main([*words, "--repeat", "3", "--json", str(file)]) == 0
    assert main([*words, "--repeat", "3", "--compare", str(file)]) in {0, 1}
