"""An earlier run, read from the JSON file that it wrote, to compare a new run with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

from tokengate_mp.bench.measuring.competitors import OURS
from tokengate_mp.bench.results.report import SCHEMA, Line
from tokengate_mp.bench.results.spread import Spread, spread_of

_MACHINE: Final = {
    "cpu": "CPU",
    "cpu_count": "CPUs",
    "usable_cpus": "usable CPUs",
    "memory_bytes": "memory",
    "platform": "platform",
}
_SOFTWARE: Final = {"implementation": "Python", "python": "Python", "gil": "GIL"}
_GIBIBYTE: Final = 1 << 30


class BaselineError(ValueError):
    """A file that no run can be compared with, and why."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Our samples of an earlier run, and the machine that gave them.

    Attributes:
        name: The file, as the user called it.
        cores: Worker processes of that run; figures of other numbers of cores do not compare.
        machine: Facts of the machine and the interpreter, as `machine.facts` gives them.
        started: When the run began, in ISO 8601; empty if the file does not say.
        raws: The raw samples by row and size, without those that failed.
        units: The unit of each of these figures.
    """

    name: str
    cores: int
    machine: Mapping[str, Any]
    started: str
    raws: Mapping[tuple[str, int], Sequence[float]]
    units: Mapping[tuple[str, int], str]

    @property
    def title(self) -> str:
        """File, version and time of the run, for a headline."""
        version = self.machine.get("tokengate_mp", "of unknown version")
        return f"{self.name} (tokengate_mp {version}{', ' if self.started else ''}{self.started})"

    def places(self) -> list[tuple[str, int]]:
        """Return row and size of every figure of ours, in the order of the file."""
        return [place for place, raws in self.raws.items() if raws]

    def spread_in(self, line: Line) -> Spread | None:
        """Return our spread at the place of `line`, in its unit; None if there is no such figure.

        A row of the same name with another unit is another figure.

        Raises:
            BaselineError: A sample of the file cannot be, such as a duration of 0.
        """
        place = (line.row.key, line.size)
        if self.units.get(place) != line.row.unit.name:
            return None
        try:
            figures = [line.row.unit.figure(raw, line.size, self.cores) for raw in self.raws[place]]
        except ZeroDivisionError:
            raise BaselineError(
                f"{self.name} is damaged: a sample of {line.row.key} at {line.size:,} is 0"
            ) from None
        return spread_of(figures)

    def refuse_incomparable(self, lines: Sequence[Line], cores: int) -> None:
        """Find, before anything is measured, that nothing could be compared.

        Args:
            lines: The lines of the new run; they need no samples yet.
            cores: Worker processes of the new run.

        Raises:
            BaselineError: The runs have different numbers of cores, or no figure in common, or a
                sample of the file cannot be.
        """
        if self.cores != cores:
            raise BaselineError(
                f"{self.name} was measured on {self.cores} cores, and this run has {cores}: "
                f"--cores {self.cores} gives figures that can be compared"
            )
        spreads = [self.spread_in(line) for line in lines]
        if not any(spreads):
            there = ", ".join(dict.fromkeys(row for row, _ in self.places())) or "none"
            raise BaselineError(
                f"{self.name} has no figure in common with this run: its rows are {there}, and "
                "rows compare at equal sizes (those of --quick are others)"
            )

    def differences(self, facts: Mapping[str, Any]) -> list[str]:
        """Return the differences between the machine of the file and `facts`, as sentences."""
        kinds = {"Another machine": _MACHINE, "Other software": _SOFTWARE}
        found = []
        for title, names in kinds.items():
            changes = [
                f"{name} was {_shown(key, self.machine[key])}, is {_shown(key, facts[key])}"
                for key, name in names.items()
                if key in self.machine
                and key in facts
                and _shown(key, self.machine[key]) != _shown(key, facts[key])
            ]
            if title == "Other software":
                changes += _package_changes(self.machine.get("packages"), facts.get("packages"))
            if changes:
                found.append(f"{title}: {'; '.join(changes)}.")
        return found


def read_baseline(file: Path) -> Baseline:
    """Read the file that an earlier run wrote with `--json`.

    Args:
        file: That JSON file.

    Raises:
        BaselineError: The file cannot be read, or no run has written it, or a version of
            tokengate_mp whose files have another schema.
    """
    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BaselineError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"{file} is no JSON: {error}") from error
    if not isinstance(whole, dict) or "schema" not in whole:
        raise BaselineError(f"{file} is no file of `bench --json`: it names no schema")
    if whole["schema"] != SCHEMA:
        raise BaselineError(
            f"{file} has schema {whole['schema']!r}, and this version of tokengate_mp compares "
            f"with schema {SCHEMA}: measure the other version again, or with this one's command"
        )
    try:
        return _baseline(str(file), whole)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise BaselineError(
            f"{file} is no file of `bench --json`, or is damaged: {type(error).__name__}: {error}"
        ) from error


def _baseline(name: str, whole: Mapping[str, Any]) -> Baseline:
    raws: dict[tuple[str, int], list[float]] = {}
    units: dict[tuple[str, int], str] = {}
    for line in whole["lines"]:
        place = (str(line["row"]), int(line["size"]))
        units[place] = str(line["unit"])
        raws[place] = [
            _finite(sample["raw"])
            for sample in line["samples"]
            if sample["competitor"] == OURS and sample["raw"] is not None
        ]
    settings, facts = whole["settings"], whole["machine"]
    return Baseline(
        name,
        int(settings["cores"]),
        dict(facts.items()),
        str(settings.get("started", "")).partition(".")[0].replace("T", " "),
        raws,
        units,
    )


def _finite(raw: Any) -> float:
    number = float(raw)
    if not isfinite(number):
        raise ValueError(f"{raw!r} is no sample")
    return number


def _shown(key: str, fact: Any) -> str:
    if key == "memory_bytes" and isinstance(fact, int):
        # To the gibibyte: kernels keep a little more or less for themselves.
        return f"{round(fact / _GIBIBYTE)} GiB"
    return ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)


def _package_changes(before: Any, now: Any) -> list[str]:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return []
    return [
        f"{name} was {before[name] or 'not there'}, is {now[name] or 'not there'}"
        for name in now
        if name in before and before[name] != now[name]
    ]
