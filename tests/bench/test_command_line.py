from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tokengate_mp.bench.demos.waves import WAVES
from tokengate_mp.bench.measuring.competitors import COMPETITORS, OURS
from tokengate_mp.bench.rows.all_rows import ROWS
from tokengate_mp.cli import arguments, main
from tokengate_mp.cli.arguments import parse

WITHOUT_RICH = (
    "import sys; sys.modules['rich'] = None; from tokengate_mp.cli import main; "
    "sys.exit(main({!r}))"
)


def command(*words, timeout=50):
    """Run `python -m tokengate_mp` with these words."""
    return subprocess.run(
        [sys.executable, "-m", "tokengate_mp", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def without_rich(*words):
    """Run the same in an interpreter that has no rich."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_RICH.format(list(words))],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def test_demo_runs_waves_and_compares():
    """Four waves of 4 to 32 tokens succeed; the three contestants' results are equal."""
    done = command("demo", "--waves", "4", "--cores", "2")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    waves = [words[:4] for words in lines if len(words) == 12 and words[0].isdigit()]
    assert waves == [[str(n), str(2 << n), str(2 << n), "0"] for n in range(1, 5)]
    assert done.stdout.count("✓ equal") == 3
    assert "60 tokens in" in done.stdout


def test_demo_pi_checks_its_digits():
    """10,000 terms agree with both legs of the check, and give the known digits."""
    done = command("demo", "pi", "--terms", "10000", "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert "3.141492653590043238459518383374815378787013642" in done.stdout
    assert done.stdout.count("✓") == 2
    assert "4 decimals right as it stands, 35 with Euler's correction" in done.stdout


def test_demo_pi_draws_the_bar_that_is_asked_for():
    """By name, on standard error, so that it is there without a terminal too."""
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    done = command("demo", "pi", "--terms", "1000", "--cores", "1", "--progress", "tqdm")
    assert done.returncode == 0, done.stderr
    assert "1000/1000" in done.stderr


def test_demo_storm_keeps_each_key_on_one_core():
    """28 tokens of four keys; the exit code says that no key was on two cores."""
    done = command("demo", "storm", "--cores", "2")
    assert done.returncode == 0, done.stdout
    assert "28 tokens in" in done.stdout
    assert "4 pins meanwhile, 0 after" in done.stdout
    assert done.stdout.count("on one core, right") == 4


def test_demo_burst_shows_burst_and_window():
    """A burst of eight and a short window succeed, each with both of its ratios."""
    done = command("demo", "burst", "--seconds", "1", "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert "8 equal medium tokens at once on 2 cores" in done.stdout
    for figure in ("submit spread", "serial / wall", "CPU time / wall", "Σ durations / time"):
        assert figure in done.stdout
    assert "0 failed" in done.stdout


def test_demo_conductor_keeps_chains_together():
    """Three leads with four children each: every chain on one core, and nothing left of them."""
    done = command("demo", "conductor", "--cores", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("one core, one seed") == 3
    assert "10000 10201 10404 10609" in done.stdout
    assert "0 chains registered after" in done.stdout


@pytest.mark.timeout(120)  # it starts some forty pools
def test_bench_writes_every_sample(tmp_path):
    """A quick run has every row, no error of ours, and its JSON every raw sample."""
    file = tmp_path / "bench.json"
    words = ("bench", "--quick", "--cores", "2", "--against", "loop,PPE,Pool,asyncio")
    done = command(*words, "--json", str(file), timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    whole = json.loads(file.read_text(encoding="utf-8"))
    assert [line["row"] for line in whole["lines"]] == [
        row.key for row in ROWS.values() for _ in row.quick_sizes
    ]
    for line in whole["lines"]:
        ours = [s for s in line["samples"] if s["competitor"] == "tokengate_mp"]
        assert len(ours) == 1
        assert all(sample["error"] is None for sample in line["samples"]), line
        assert line["row"] == "growth" or ours[0]["raw"] > 0
    assert whole["settings"]["quick"] is True
    assert whole["machine"]["python"].startswith(f"{sys.version_info.major}.")
    for title in (row.title for row in ROWS.values()):
        assert title in done.stdout


def test_bench_strict_fails_on_a_missed_target(monkeypatch):
    """With --strict a target that is missed is an exit code of 1, without it is not."""
    from tokengate_mp.bench.measuring.sampling import Sample
    from tokengate_mp.bench.results.report import Line
    from tokengate_mp.cli.bench import _code

    slow = Line(ROWS["10ms"], 400, 2, [Sample("tokengate_mp", 0, 100.0)])
    broken = Line(ROWS["10ms"], 400, 2, [Sample("tokengate_mp", 0, None, "broke")])
    assert _code([slow], strict=False) == 0
    assert _code([slow], strict=True) == 1
    assert _code([broken], strict=False) == 1


def test_doctor_finds_this_machine_sound():
    """Every part has its line; nothing is broken; the exit code says so."""
    done = command("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for subject in ("Python", "CPUs", "shared memory", "doorbell", "msgspec", "all core processes"):
        assert subject in done.stdout
    assert "Nothing is broken." in done.stdout


def test_doctor_needs_no_rich():
    """Without the extra the doctor works, and says what rich is for."""
    done = without_rich("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing is broken." in done.stdout


@pytest.mark.parametrize("words", [["demo"], ["demo", "pi"], ["bench", "--quick"], ["soak"], []])
def test_what_draws_says_how_to_get_rich(words):
    """Without rich there is one line that says how to install it, and no traceback."""
    done = without_rich(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pip install 'tokengate_mp[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_it_cleanly():
    """An interrupt of the whole process group, as by a terminal, ends in code 130 and one word."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tokengate_mp", "demo", "burst", "--seconds", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            line = process.stdout.readline()
            while line and "CPU time / wall" not in line:  # the burst is over: the window runs
                line = process.stdout.readline()
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 130
    assert errors.strip() == "stopped"


def test_a_reader_that_has_seen_enough_is_no_error():
    """A closed pipe, as behind `head`, ends the command without a complaint."""
    with subprocess.Popen(
        [sys.executable, "-m", "tokengate_mp", "doctor"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["bench", "--only", "noop,nope"], "no row is called 'nope'"),
        (["bench", "--only", ","], "no row is named"),
        (["bench", "--against", "him"], "no competitor is called 'him'"),
        (["bench", "--repeat", "0"], "0 is not from 1 to 1,000"),
        (["demo", "--waves", "many"], "'many' is not a whole number"),
        (["demo", "--waves", "21"], "21 is not from 1 to 20"),
        (["demo", "burst", "--seconds", "-1"], "not a number of seconds above 0"),
        (["demo", "burst", "--seconds", "long"], "'long' is not a number of seconds"),
        (["demo", "--cores", "0"], "0 is not from 1"),
        (["soak", "--kills-per-second", "-1"], "-1 is not from 0 to 100"),
        (["soak", "--kills-per-second", "few"], "'few' is not a number"),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_wrong_usage_is_refused_with_the_reason(capsys, words, complaint):
    """Each wrong word ends in code 2 and a message that names it."""
    with pytest.raises(SystemExit) as refused:
        main(words)
    assert refused.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_json_file_that_cannot_be_written_is_found_before_measuring(capsys, tmp_path):
    """The run does not begin if its outcome could not be kept."""
    code = main(["bench", "--quick", "--json", str(tmp_path / "no" / "such" / "folder.json")])
    assert code == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_without_a_command_it_is_the_demo_of_waves():
    """The bare command, `demo`, and the demo with its defaults written out are the same."""
    asked = parse([])
    assert (asked.command, asked.which, asked.waves, asked.cores) == ("demo", "waves", 15, None)
    assert parse(["demo"]) == asked


def test_cores_may_stand_before_or_after_the_kind():
    """An option of the demo is not lost when its kind follows."""
    assert parse(["demo", "--cores", "3", "pi"]).cores == 3
    assert parse(["demo", "pi", "--cores", "3"]).cores == 3
    assert parse(["demo", "pi"]).cores is None
    assert parse(["demo", "pi", "--terms", "1_000"]).terms == 1000


def test_what_parsing_knows_of_the_benchmark_is_true():
    """Rows, waves and competitors are written out again in the parser, and are the same."""
    assert tuple(ROWS) == arguments.ROWS
    assert arguments.WAVES == WAVES
    assert (OURS, *arguments.OTHERS) == tuple(COMPETITORS)
    assert parse(["bench", "--only", "mix, noop"]).only == ("noop", "mix")
    assert parse(["bench", "--against", "PPE"]).against == ("PPE",)
