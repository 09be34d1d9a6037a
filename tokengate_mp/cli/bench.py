"""`bench`: every figure in one run, as ratios, with the targets they are held against."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from tokengate_mp.bench import machine
from tokengate_mp.bench.measuring.competitors import OURS, installed
from tokengate_mp.bench.results import plot, report
from tokengate_mp.bench.results.report import Line
from tokengate_mp.bench.rows.all_rows import ROWS
from tokengate_mp.bench.run import Plan, measured
from tokengate_mp.cli import screen
from tokengate_mp.config.cpus import usable_cpus

if TYPE_CHECKING:
    from rich.console import Console


def run(asked: argparse.Namespace) -> int:
    """Measure what was asked for, show it, and return the exit code."""
    console = screen.make_console()
    plan = Plan(
        rows=asked.only,
        cores=asked.cores or len(usable_cpus()),
        rounds=asked.repeat or (1 if asked.quick else 5),
        against=asked.against,
        quick=asked.quick,
    )
    target = None if asked.json is None else Path(asked.json)
    if target is not None:
        target.touch()  # now, and not after ten minutes, is the time to find that it cannot be
    picture = None if asked.plot is None else Path(asked.plot)
    if picture is not None:
        plot.refuse_unplottable(plan.rows)
        picture.touch()
    lines = _measure(console, plan, target)
    _show_targets(console, lines, plan)
    if picture is not None:
        plot.draw(lines, picture)
    return _code(lines, strict=asked.strict)


def _measure(console: Console, plan: Plan, target: Path | None) -> list[Line]:
    """Take every sample; after each line the JSON file holds all up to it."""
    begin = time.perf_counter()
    facts = {**machine.facts(), "usable_cpus": usable_cpus()}
    settings: dict[str, Any] = {
        "cores": plan.cores,
        "against": plan.against,
        "rounds": plan.rounds,
        "quick": plan.quick,
        "started": datetime.now(UTC).isoformat(),
    }
    screen.headline(
        console,
        f"{OURS} on {plan.cores} cores (medians of {plan.rounds}), and how many times as fast "
        "it is as each of the others",
    )
    table = screen.make_table(("", "Tokens", OURS, *plan.against))
    done: list[Line] = []
    with screen.growing(console, table) as shown:
        for line in plan.lines():

            def say(name: str, turn: int, line: Line = line) -> None:
                where = f"{line.row.title} at {line.size:,}"
                shown.say(f"{where}, round {turn + 1} of {plan.rounds}: {name} …")

            done.append(measured(line, plan, say))
            shown.add(_cells(done[-1], plan))
            if target is not None:
                settings["seconds"] = round(time.perf_counter() - begin, 3)
                whole = report.document(done, facts, settings)
                target.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return done


def _cells(line: Line, plan: Plan) -> list[str | Text]:
    cells: list[str | Text] = [line.row.title, f"{line.size:,}", line.figure_text(OURS)]
    for name in plan.against:
        text = line.ratio_text(name)
        cells.append(Text(text, style="red") if line.errors(name) else text)
    return cells


def _show_targets(console: Console, lines: Sequence[Line], plan: Plan) -> None:
    for row in dict.fromkeys(line.row.key for line in lines):
        console.print(f"{ROWS[row].title}: {ROWS[row].meaning}.")
    for row in plan.rows:
        if not ROWS[row].possible:
            console.print(f"{ROWS[row].title}: not measured, {ROWS[row].package} is not installed.")
    missing = [name for name in plan.against if not installed(name)]
    console.print(
        "PPE: ProcessPoolExecutor, run_in_executor and gather. Pool: multiprocessing.Pool, "
        "apply_async. shares: the limit of these CPUs, each worker given its share as one message. "
        "asyncio: the limit of asyncio, futures made, gathered and resolved. joblib: automatic "
        "batches. ≤N: too slow beyond N tokens, not asked."
        + (f" Not installed: {', '.join(missing)}." if missing else "")
    )
    for line in lines:
        for name in (OURS, *plan.against):
            for error in line.errors(name):
                where = f"{line.row.title} at {line.size:,}, {name}"
                console.print(screen.mark(f"{where}: {error}", good=False))
    held = [(line, each) for line in lines for each in line.held()]
    if not held:
        return
    if plan.quick:
        console.print("(--quick: too few and too small for the targets to mean anything.)")
    screen.headline(console, "Targets, set for 2 cores")
    table = screen.make_table(("", "Tokens", "Target", "Measured"))
    for line, each in held:
        value = "not measured" if each.value is None else f"{each.value:.3g}"
        table.add_row(
            line.row.title,
            f"{line.size:,}",
            each.target.text(),
            screen.mark(value, good=each.met),
        )
    console.print(table)


def _code(lines: Sequence[Line], *, strict: bool) -> int:
    if any(line.errors(OURS) for line in lines):
        return 1
    return int(strict and not all(each.met for line in lines for each in line.held()))
