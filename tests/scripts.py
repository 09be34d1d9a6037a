"""Scripts that tests run in a Python of their own, and how they end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TESTS = Path(__file__).resolve().parent

PATIENCE = 20
"""Seconds until a script that hangs is killed."""

_WATCH = "import faulthandler; faulthandler.dump_traceback_later(15, exit=True)\n"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a script: it can import what the tests import."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(extra or {})}


def command(path: Path, code: str) -> list[str]:
    """Write a script to `path`; the command that runs it, with every warning an error."""
    # The thread that watches is missing in a fork, which would wait for it at its end.
    watch = "" if "os.fork()" in code else _WATCH
    path.write_text(watch + dedent(code), encoding="utf-8")
    return [sys.executable, "-Werror", str(path)]


def run(
    arguments: list[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    patience: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and hand its output over.

    One that does not end is killed, with everything that it has started.
    """
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env=environment(env),
        cwd=cwd,
    )
    try:
        said, complained = process.communicate(stdin, patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, complained = process.communicate()
        complained += f"\nkilled after {patience:g} s"
    return subprocess.CompletedProcess(arguments, process.returncode, said, complained)


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
