"""`soak`: core processes are killed under a mixed load, and every check has to hold."""

from __future__ import annotations

import argparse
import faulthandler
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from tokengate_mp.cli import screen
from tokengate_mp.config.cpus import usable_cpus
from tokengate_mp.soak.journal import End
from tokengate_mp.soak.load import Kind
from tokengate_mp.soak.verdict import Verdict, soak

if TYPE_CHECKING:
    from rich.console import Console

_PATIENCE: Final = 30.0
"""Seconds that tokens have to end after the last one was made."""

_LONGEST_REST: Final = 60.0
"""Seconds beyond that for starting, stopping and judging; then the event loop itself is stuck."""

_COLUMNS: Final = {
    "OK": (End.VALUE,),
    "Lost": (End.LOST, End.NEEDED),
    "Failed": (End.FAILED,),
    "Killed": (End.KILLED, End.CANCELLED),
    "Timeout": (End.TIMED_OUT,),
}


def run(asked: argparse.Namespace) -> int:
    """Soak as asked for, show the checks, and return the exit code."""
    console = screen.make_console()
    target = None if asked.json is None else Path(asked.json)
    if target is not None:
        target.touch()  # now, and not after an hour, is the time to find that it cannot be
    cores = asked.cores or len(usable_cpus())
    seed = secrets.randbelow(1 << 32) if asked.seed is None else asked.seed
    screen.headline(
        console,
        f"{asked.seconds:g} s of mixed tokens on {cores} cores, of which {asked.kills:g} are "
        f"killed in a second; seed {seed}",
    )
    # What waits for a deadline is the event loop: should that stand still, this ends the process,
    # with a traceback of where, and code 1.
    longest = asked.seconds + _PATIENCE + _LONGEST_REST
    faulthandler.dump_traceback_later(longest, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        verdict = soak(
            seconds=asked.seconds, kills=asked.kills, seed=seed, cores=cores, patience=_PATIENCE
        )
    finally:
        faulthandler.cancel_dump_traceback_later()
    if target is not None:
        target.write_text(json.dumps(verdict.document(), indent=1) + "\n", encoding="utf-8")
    _show(console, verdict)
    return 0 if verdict.good else 1


def _show(console: Console, verdict: Verdict) -> None:
    kinds = screen.make_table(("", "Made", "Runs", *_COLUMNS))
    for kind in Kind:
        ends = (sum(verdict.ends[kind, end] for end in some) for some in _COLUMNS.values())
        counts = (verdict.made[kind], verdict.runs[kind], *ends)
        kinds.add_row(kind.name.lower(), *(f"{count:,}" if count else "" for count in counts))
    console.print(kinds)
    checks = screen.make_table(("Check", "Found"), left=2)
    for check in verdict.checks:
        found = Text(check.found, style="" if check.good else "red")
        checks.add_row(screen.mark(check.name, good=check.good), found)
    console.print(checks)
    made = verdict.made.total()
    console.print(
        f"{made:,} tokens in {verdict.elapsed:.1f} s ({made / verdict.elapsed:,.0f} tok/s), "
        f"{verdict.kills:,} processes killed."
    )
    wrong = [check.name for check in verdict.checks if not check.good]
    if wrong:
        console.print(Text(f"It is not so that {'; nor that '.join(wrong)}.", style="bold red"))
        plan = verdict.plan
        again = f"--seconds {plan.seconds:g} --kills-per-second {plan.kills:g} --seed {plan.seed}"
        console.print(f"Again: tokengate-mp soak --cores {plan.cores} {again}")
