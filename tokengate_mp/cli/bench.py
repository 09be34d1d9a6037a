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
from tokengate_mp.bench.results.baseline import Baseline, read_baseline
from tokengate_mp.bench.results.changes import LEAST_SAMPLES, Verdict, changes_since, unmatched
from tokengate_mp.bench.results.report import Line
from tokengate_mp.bench.rows.all_rows import ROWS
from tokengate_mp.bench.run import Plan, measured
from tokengate_mp.cli import screen
from tokengate_mp.config.cpus import usable_cpus

if TYPE_CHECKING:
    from rich.console import Console

_CLEAR = (Verdict.BETTER, Verdict.WORSE)


def run(asked: argparse.Namespace) -> int:
    """Measure the rows asked for, show the figures, and return the exit code."""
    console = screen.make_console()
    plan = Plan(
        rows=asked.only,
        cores=asked.cores or len(usable_cpus()),
        rounds=asked.repeat or (1 if asked.quick else 5),
        against=asked.against,
        quick=asked.quick,
    )
    target = None if asked.json is None else Path(asked.json)
    baseline = None if asked.compare is None else _baseline(Path(asked.compare), plan, target)
    if target is not None:
        target.touch()  # now, and not after ten minutes, is the time to find that it cannot be
    picture = None if asked.plot is None else Path(asked.plot)
    if picture is not None:
        plot.refuse_unplottable(plan.rows)
        picture.touch()
    lines = _measure(console, plan, target)
    _show_meanings(console, lines, plan)
    _show_targets(console, lines, plan)
    if picture is not None:
        plot.draw(lines, picture)
    worse = baseline is not None and _show_changes(console, lines, baseline)
    return int(worse) or _code(lines, strict=asked.strict)


def _baseline(file: Path, plan: Plan, target: Path | None) -> Baseline:
    if target is not None and target.exists() and file.exists() and target.samefile(file):
        raise ValueError(f"{file} is to be compared with, and --json would overwrite it")
    baseline = read_baseline(file)
    baseline.refuse_incomparable(list(plan.lines()), plan.cores)
    return baseline


def _measure(console: Console, plan: Plan, target: Path | None) -> list[Line]:
    """Take every sample; after each line, write all lines so far to the JSON file."""
    begin = time.perf_counter()
    facts = _facts()
    settings: dict[str, Any] = {
        "cores": plan.cores,
        "against": plan.against,
        "rounds": plan.rounds,
        "quick": plan.quick,
        "started": datetime.now(UTC).isoformat(),
    }
    screen.headline(
        console,
        f"{OURS} on {plan.cores} cores (medians of {plan.rounds})"
        + (", and how many times as fast it is as each of the others" if plan.against else ""),
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


def _show_meanings(console: Console, lines: Sequence[Line], plan: Plan) -> None:
    """Show the meaning of each row and each competitor, and all errors."""
    for row in dict.fromkeys(line.row.key for line in lines):
        console.print(f"{ROWS[row].title}: {ROWS[row].meaning}.")
    for row in plan.rows:
        if not ROWS[row].possible:
            console.print(f"{ROWS[row].title}: not measured, {ROWS[row].package} is not installed.")
    missing = [name for name in plan.against if not installed(name)]
    if plan.against:
        console.print(
            "PPE: ProcessPoolExecutor, run_in_executor and gather. Pool: multiprocessing.Pool, "
            "apply_async. shares: the limit of these CPUs, each worker given its share as one "
            "message. asyncio: the limit of asyncio, futures made, gathered and resolved. joblib: "
            "automatic batches. ≤N: too slow beyond N tokens, not asked."
            + (f" Not installed: {', '.join(missing)}." if missing else "")
        )
    for line in lines:
        for name in (OURS, *plan.against):
            for error in line.errors(name):
                where = f"{line.row.title} at {line.size:,}, {name}"
                console.print(screen.mark(f"{where}: {error}", good=False))


def _show_targets(console: Console, lines: Sequence[Line], plan: Plan) -> None:
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


def _show_changes(console: Console, lines: Sequence[Line], baseline: Baseline) -> bool:
    """Show how the figures compare with an earlier run; return whether any figure is worse."""
    screen.headline(console, f"Compared with {baseline.title}: a ratio above 1 is better")
    for difference in baseline.differences(_facts()):
        console.print(screen.mark(difference, good=False))
    changes = changes_since(baseline, lines)
    table = screen.make_table(("", "Tokens", "Before", "Now", "Spread", "Ratio", "Verdict"))
    for change in changes:
        unit, verdict = change.row.unit, change.verdict
        text = verdict.value
        table.add_row(
            change.row.title,
            f"{change.size:,}",
            unit.text(change.before.median),
            unit.text(change.now.median),
            "-" if verdict is Verdict.UNKNOWN else unit.text(change.spread),
            "-" if change.ratio is None else report.ratio_text(change.ratio),
            screen.mark(text, good=verdict is Verdict.BETTER) if verdict in _CLEAR else text,
        )
    console.print(table)
    if any(change.verdict is Verdict.UNKNOWN for change in changes):
        console.print(
            f"Too few samples: a verdict takes {LEAST_SAMPLES} in both runs (--repeat "
            f"{LEAST_SAMPLES} or more)."
        )
    in_file, in_run = unmatched(baseline, lines)
    if in_file:
        console.print(f"Only in {baseline.name}: {in_file}.")
    if in_run:
        console.print(f"Only in this run: {in_run}.")
    return any(change.verdict is Verdict.WORSE for change in changes)


def _facts() -> dict[str, Any]:
    return {**machine.facts(), "usable_cpus": usable_cpus()}


def _code(lines: Sequence[Line], *, strict: bool) -> int:
    if any(line.errors(OURS) for line in lines):
        return 1
    return int(strict and not all(each.met for line in lines for each in line.held()))
