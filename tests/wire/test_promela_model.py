"""The Promela model of ring and doorbells, checked by Spin in every state that it can get into."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parents[2] / "docs" / "model" / "ring.pml"

pytestmark = [
    pytest.mark.skipif(
        shutil.which("spin") is None or shutil.which("gcc") is None,
        reason="needs spin and gcc (apt-get install spin gcc)",
    ),
    pytest.mark.timeout(180),
]

HOLDS = ["", "-DWEAK -DCHECKED -DRECORDS=3"]

LOST_WAKE_UP = ["-DNO_FENCE", "-DNO_RECHECK", "-DWEAK -DCHECKED -DNO_FENCE"]

WRONG_RECORD = ["-DHEAD_FIRST", "-DTAIL_FIRST", "-DWEAK", "-DWEAK -DCHECKED -DLOCAL"]


def verdict(folder, options):
    """Search all states of the model; what Spin says of them."""
    steps = [
        ["spin", *options.split(), "-a", str(MODEL)],
        ["gcc", "-O2", "-w", "-DSAFETY", "-DVECTORSZ=2048", "-o", "pan", "pan.c"],
        ["./pan", "-m200000"],
    ]
    said = ""
    for step in steps:
        done = subprocess.run(step, cwd=folder, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
    assert "max search depth too small" not in said
    assert re.search(r"errors: \d", said), said
    return said


@pytest.mark.parametrize("options", HOLDS)
def test_nothing_is_lost_torn_or_slept_over(tmp_path, options):
    """In no order of steps and stores is a record wrong, or a sleeper left with something to do."""
    said = verdict(tmp_path, options)
    assert "errors: 0" in said, said
    states = float(re.search(r"([\d.e+]+) states, stored", said)[1])
    assert states > 100_000


@pytest.mark.parametrize("options", LOST_WAKE_UP)
def test_the_model_finds_a_lost_wake_up(tmp_path, options):
    """Without the fences, or the second look, there is a state that nobody ever leaves."""
    assert "invalid end state" in verdict(tmp_path, options)


@pytest.mark.parametrize("options", WRONG_RECORD)
def test_the_model_finds_a_wrong_record(tmp_path, options):
    """Stores in the wrong order, or a checksum of too little, let a wrong record through."""
    assert "assertion violated" in verdict(tmp_path, options)
