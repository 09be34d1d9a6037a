"""The verdict on a soak: every check that it has to pass, with what was found."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tokengate_mp.soak import journal
from tokengate_mp.soak.audit import Audit, Rule
from tokengate_mp.soak.driver import Course, Driver, Plan
from tokengate_mp.soak.journal import End
from tokengate_mp.soak.load import Kind
from tokengate_mp.soak.outside import Holdings, thirds

GROWTH_BYTES: Final = 6 << 20
"""How much more memory this process may use in the last third of the time than in the first.

What malloc holds back for the next burst comes and goes by a few MB. A soak of some minutes shows
whether tokens are kept, of which each would cost half a kilobyte.
"""

_TOLD: Final = 5

_FATES: Final = {
    "completed": (End.VALUE,),
    "failed": (End.LOST, End.FAILED, End.NEEDED, End.OTHER),
    "killed": (End.KILLED, End.CANCELLED),
    "timeout": (End.TIMED_OUT,),
}
"""What the coordinator counts each end as."""

_UNCOUNTED: Final = frozenset({Kind.CHILD, Kind.INNER, Kind.MAPPED})
"""What is not told of each token: made by others, or many in one."""


@dataclass(frozen=True, slots=True)
class Check:
    """A claim that has to hold, and whether that is so.

    Attributes:
        name: What it is.
        good: Whether it holds.
        found: What was seen; if it does not hold, what of it.
    """

    name: str
    good: bool
    found: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Checks and figures of a soak.

    Attributes:
        plan: What it was to be like.
        elapsed: How long it took, s.
        kills: How many processes were killed.
        made: How many tokens of each kind there were.
        ends: How many of each kind ended how.
        runs: How many runs of each kind began.
        checks: What had to hold.
    """

    plan: Plan
    elapsed: float
    kills: int
    made: Counter[Kind]
    ends: Counter[tuple[Kind, End]]
    runs: Counter[Kind]
    checks: Sequence[Check]

    @property
    def good(self) -> bool:
        """Whether every check holds."""
        return all(check.good for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "plan": asdict(self.plan),
            "elapsed": self.elapsed,
            "kills": self.kills,
            "good": self.good,
            "kinds": {
                kind.name.lower(): {
                    "made": self.made[kind],
                    "runs": self.runs[kind],
                    "ends": {
                        end.name.lower(): self.ends[kind, end]
                        for end in End
                        if self.ends[kind, end]
                    },
                }
                for kind in Kind
            },
            "checks": [asdict(check) for check in self.checks],
        }


def soak(  # noqa: PLR0913 - what a soak is made of
    *,
    seconds: float,
    kills: float,
    seed: int,
    cores: int,
    threads: int = 4,
    patience: float = 30.0,
) -> Verdict:
    """Soak in an event loop of its own, and return the verdict.

    Args:
        seconds: How long tokens are made.
        kills: How many core processes are killed in a second, on average.
        seed: Of the choices.
        cores: How many core domains.
        threads: Crew threads of each.
        patience: Seconds that tokens have to end after the last one was made.

    Raises:
        CoreStartError: The core processes cannot be started.
    """
    before = Holdings()
    with tempfile.TemporaryDirectory(prefix="tokengate-soak-") as folder:
        path = str(Path(folder) / "journal")
        plan = Plan(seconds, kills, seed, cores, threads, patience, path)
        try:
            course = asyncio.run(Driver(plan).run())
        finally:
            journal.close(path)
        left = before.left()
        audit = Audit(threads)
        audit.read(journal.read(path))
    return judged(plan, course, audit, left)


def judged(plan: Plan, course: Course, audit: Audit, left: Sequence[str]) -> Verdict:
    """The verdict on journal, samples and statistics.

    Args:
        plan: What it was to be like.
        course: What it was like.
        audit: What its journal says.
        left: What was there afterwards and not before.
    """
    checks = [*_of_journal(audit, course), *_from_outside(audit, course, left)]
    return Verdict(plan, course.elapsed, course.kills, audit.made, audit.ends, audit.runs, checks)


def _of_journal(audit: Audit, course: Course) -> Iterator[Check]:
    for rule in Rule:
        findings = list(audit.findings[rule])
        count = audit.found[rule]
        if count > len(findings):
            findings.append(f"and {count - len(findings)} more")
        if rule is Rule.ENDED and course.pending:
            findings.insert(0, course.pending)
        yield Check(rule.value, not findings, "; ".join(findings) or _seen(rule, audit))


def _seen(rule: Rule, audit: Audit) -> str:
    ends: Counter[End] = Counter()
    for (_, end), count in audit.ends.items():
        ends[end] += count
    match rule:
        case Rule.ENDED | Rule.ONCE:
            return f"{audit.ends.total():,} ends"
        case Rule.RIGHT:
            return f"{ends[End.VALUE]:,} values"
        case Rule.RUNS:
            return f"{audit.runs.total():,} runs of {audit.made.total():,} tokens"
        case Rule.ALONE:
            return f"{audit.runs[Kind.ALONE]:,} runs of exclusive tokens"
        case Rule.LOST | Rule.FEW:
            return f"{ends[End.LOST]:,} lost, {len(audit.shot):,} processes killed"
        case Rule.ALLOWED:
            return ", ".join(
                f"{count:,} {end.name.lower().replace('_', ' ')}"
                for end, count in sorted(ends.items())
            )


def _from_outside(audit: Audit, course: Course, left: Sequence[str]) -> Iterator[Check]:
    restarts = sum(core["restarts"] for core in course.stats.get("cores", ()))
    yield Check(
        "no process ended but those that were killed",
        restarts == course.kills,
        f"{course.kills:,} killed, {restarts:,} replaced",
    )
    differences = list(_differences(audit, course.stats))
    yield Check(
        "the coordinator has counted the same",
        not differences,
        "; ".join(differences[:_TOLD]) or "per operation: completed, failed, killed, timeout",
    )
    first, last = thirds(course.samples.rss)
    yield Check(
        "memory is flat",
        last - first <= GROWTH_BYTES,
        f"{first / 1e6:.1f} MB in the first third, {last / 1e6:.1f} MB in the last",
    )
    first, last = thirds(course.samples.fds)
    yield Check("descriptors are flat", first == last, f"{first} in the first third, {last} after")
    yield Check(
        "nothing is left behind",
        not left,
        ", ".join(left) or "no process, thread, segment or descriptor",
    )
    yield Check(
        "nothing else was complained of",
        not course.complaints,
        "; ".join(course.complaints[:_TOLD]) or "in the log, and by the event loop",
    )


def _differences(audit: Audit, stats: dict[str, Any]) -> Iterator[str]:
    """Differences between the coordinator's counts and the outcomes delivered."""
    operations = stats.get("operations", {})
    for kind in Kind:
        if kind in _UNCOUNTED or not audit.made[kind]:
            continue
        name = f"soak.{kind.name.lower()}"
        counts = operations.get(name, {}).get("counts", {})
        for fate, ends in _FATES.items():
            delivered = sum(audit.ends[kind, end] for end in ends)
            if counts.get(fate, 0) != delivered:
                yield f"{name}: {counts.get(fate, 0)} {fate}, and {delivered} delivered"
    unended = sum(stats.get("tokens", {}).get(s, 1) for s in ("waiting", "admitted", "executing"))
    if unended:
        yield f"{unended} tokens have not ended"
