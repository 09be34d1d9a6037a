"""What something costs the scheduler, counted and not timed."""

from __future__ import annotations

import sys
from pathlib import Path

import tokengate_mp.scheduling


def steps(run):
    """How many lines of the scheduler are executed by a run."""
    package = str(Path(tokengate_mp.scheduling.__file__).parent)
    executed = 0

    def line(frame, event, argument):
        nonlocal executed
        executed += event == "line"
        return line

    def call(frame, event, argument):
        return line if frame.f_code.co_filename.startswith(package) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        run()
    finally:
        sys.settrace(before)
    return executed
