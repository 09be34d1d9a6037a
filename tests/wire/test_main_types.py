from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from children import environment

SCRIPT = Path(__file__).with_name("main_types.py")


@pytest.mark.parametrize("way", ["script", "stdin"])
def test_classes_of_main_are_the_callers_own(way):
    """What goes out and comes back is an instance of the very class, whole and untouched.

    In a script, and in code piped to `python -`, through real core processes.
    """
    given = SCRIPT.read_text() if way == "stdin" else None
    done = subprocess.run(
        [sys.executable, "-" if given else SCRIPT],
        input=given,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (done.stdout, done.stderr) == ("all exact\n", "")
    assert done.returncode == 0
