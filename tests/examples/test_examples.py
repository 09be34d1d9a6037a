from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name, *words):
    """Run an example as its user would, and return what it prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mix():
    """Every token of the mix gives a result, and the cores' counts add up to them."""
    said = example("mix", "400")
    assert said.startswith("400 results in")
    assert sum(int(count) for count in re.findall(r"core \d+: ([\d]+) tokens", said)) == 400


def test_leibniz():
    """2,500 terms give π less their share of what is left out: 1/2500."""
    assert "3.14119265" in example("leibniz", "2500")


def test_word_frequencies_of_a_folder(tmp_path):
    """Words of all files below the folder are counted together, without regard to capitals."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "one.txt").write_text("Token gate, token!", encoding="utf-8")
    (tmp_path / "deep" / "two.txt").write_text("a token: über\n" * 3, encoding="utf-8")
    (tmp_path / "other.md").write_text("not this one", encoding="utf-8")
    lines = example("word_frequencies", str(tmp_path)).splitlines()
    assert lines[0] == "2 files, 9 words, 3 different ones"
    assert [line.split() for line in lines[1:]] == [["5", "token"], ["3", "über"], ["1", "gate"]]


def test_word_frequencies_without_files(tmp_path):
    """An empty folder is no error."""
    assert example("word_frequencies", str(tmp_path)) == "0 files, 0 words, 0 different ones\n"


def test_warm_cache():
    """Asked anywhere or where it is warm, each book gives the same; and it is pinned while kept."""
    lines = example("warm_cache", "3", "4").splitlines()
    assert re.fullmatch(r"anywhere: 12 answers in .* s of work, 0 books pinned", lines[0])
    assert re.fullmatch(r"warm: 12 answers in .* s of work, 3 books pinned", lines[1])


def test_every_example_is_tested():
    """An example that no test here names would rot unseen."""
    source = Path(__file__).read_text(encoding="utf-8")
    for file in EXAMPLES.glob("*.py"):
        assert f'example("{file.stem}"' in source
