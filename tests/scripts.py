"""Scripts that tests run in a Python of their own, and how they end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TESTS = Path(__file__).resolve().parent

PATIENCE = 40
"""Seconds until a script that hangs is killed."""

_TRACE = "import faulthandler; faulthandler.dump_traceback_later(30, exit=True)\n"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a script: it can import what the tests import."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(extra or {})}


def command(path: Path, code: str) -> list[str]:
    """Write a script to `path`; the command that runs it, with every warning an error."""
    path.write_text(_TRACE + dedent(code), encoding="utf-8")
    return [sys.executable, "-Werror", str(path)]


def run(
    arguments: list[str], *, stdin: str | None = None, env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and hand its output over."""
    return subprocess.run(
        arguments,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment(env),
        cwd=cwd,
    )


def output(path: Path, code: str, **options: Any) -> str:
    """Run a script that must succeed without a word on stderr; what it printed."""
    done = run(command(path, code), **options)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def all_gone(pidfds: Iterable[int], seconds: float = 20) -> bool:
    """Wait until the processes behind these pidfds have ended."""
    waiting = select.poll()
    left = set(pidfds)
    for pidfd in left:
        waiting.register(pidfd, select.POLLIN)
    while left:
        ended = waiting.poll(seconds * 1000)
        if not ended:
            return False
        for pidfd, _ in ended:
            waiting.unregister(pidfd)
            left.discard(pidfd)
    return True
