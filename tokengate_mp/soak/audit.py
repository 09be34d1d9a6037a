"""The audit: what a journal says that should not have happened.

It reads notes and nothing else, in their order, and keeps of a token that has ended one byte; so it
can be given what never happened, and journals of any length.

What may happen to a token is what `docs/failure-modes.md` promises. It ends once, with its own
value or in a way that was asked for. It is run at most once, unless a run raised and it has
retries for that, or the run's process was killed and it may be run again for that. It is lost only
with the process that it had begun in; and a process that is killed takes at most one token for each
of its threads with it, and those that wait beneath one for its result. While an exclusive token
runs nothing else does in its process, but what waits for another token.

A process notes `BEGUN` a moment after the engine has noted that the token runs, and `RETURNED` a
moment before the outcome is published. In between, a kill makes a token end lost that has not begun
or has returned: that is no fault, since nobody can know better.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Final

from tokengate_mp.soak.journal import End, Event, Note
from tokengate_mp.soak.load import NEEDS, POISON_LIMIT, RETRIES, Kind, result_of


class Rule(Enum):
    """Claims that a soak examines, worded to stand behind "it is so that"."""

    ENDED = "every token has ended"
    ONCE = "no outcome was delivered twice"
    RIGHT = "every value is right"
    ALLOWED = "every token ended in a way that it may end"
    RUNS = "none was run that might not be run"
    LOST = "a token is lost only with its process"
    ALONE = "beside an exclusive token nothing runs in its process"
    FEW = "a killed process takes at most one token for each thread with it"


_BY_REQUEST: Final = {
    Kind.HASTY: End.TIMED_OUT,
    Kind.DOOMED: End.KILLED,
    Kind.DROPPED: End.CANCELLED,
}
"""What is asked for: by a time limit, or by whoever made the token."""

_AFTER_ERRORS: Final = frozenset({Kind.FLAKY, Kind.STUBBORN})
_AFTER_DEATHS: Final = frozenset({Kind.SURE, Kind.STUBBORN})
_MOST_RUNS: Final = {
    Kind.FLAKY: RETRIES + 1,
    Kind.STUBBORN: RETRIES + 1,
    Kind.SURE: POISON_LIMIT,
}
_NAMED: Final = 5
"""How many findings are told of each rule; of the others, how many there are."""


class _Life:
    """Notes of a token that has not ended.

    Attributes:
        kind: What it does; None if nobody noted that it was made.
        maker: The token that made it, or 0.
        runs: For each run its process, and what it ended with, or None.
    """

    __slots__ = ("kind", "maker", "runs")

    def __init__(self, kind: Kind | None = None, maker: int = 0) -> None:
        self.kind = kind
        self.maker = maker
        self.runs: list[tuple[int, Event | None]] = []


class Audit:
    """Reads a journal.

    Args:
        threads: How many crew threads a core process has.

    Attributes:
        made: How many tokens of each kind were made.
        ends: How many of each kind ended how.
        runs: How many runs of each kind began.
        shot: The processes that were killed.
        findings: What should not have happened, by the rule that it breaks.
        found: How much of that there is, including what is not told.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lives: dict[int, _Life] = {}
        self._ended = bytearray()
        self._lost: defaultdict[int, set[int]] = defaultdict(set)
        self._left: Counter[int] = Counter()
        self._open: defaultdict[int, dict[int, Kind]] = defaultdict(dict)
        self.made: Counter[Kind] = Counter()
        self.ends: Counter[tuple[Kind, End]] = Counter()
        self.runs: Counter[Kind] = Counter()
        self.shot: set[int] = set()
        self.findings: dict[Rule, list[str]] = {rule: [] for rule in Rule}
        self.found: Counter[Rule] = Counter()

    def read(self, notes: Iterable[Note]) -> None:
        """Take in the whole journal."""
        readers = {
            Event.MADE: self._made,
            Event.BEGUN: self._begun,
            Event.RETURNED: self._returned,
            Event.RAISED: self._raised,
            Event.ENDED: self._has_ended,
            Event.SHOT: self._shot,
        }
        for note in notes:
            readers[Event(note.event)](note)
        self._close()

    def _say(self, rule: Rule, number: int, kind: Kind | None, what: str) -> None:
        self.found[rule] += 1
        if self.found[rule] <= _NAMED:
            name = "of no kind" if kind is None else kind.name.lower()
            self.findings[rule].append(f"token {number} ({name}) {what}")

    def _end_of(self, number: int) -> int:
        """The `End` of a token; 0 before its end."""
        return self._ended[number] if number < len(self._ended) else 0

    # ---- notes

    def _shot(self, note: Note) -> None:
        self.shot.add(note.pid)
        self._open.pop(note.pid, None)

    def _made(self, note: Note) -> None:
        kind = Kind(note.what)
        if note.number in self._lives or self._end_of(note.number):
            self._say(Rule.RUNS, note.number, kind, "was made twice: its maker ran twice")
            return
        self._lives[note.number] = _Life(kind, note.value)
        self.made[kind] += 1

    def _begun(self, note: Note) -> None:
        number, pid = note.number, note.pid
        life = self._lives.get(number)
        if life is None or life.kind is None:
            self._begun_late(number, pid)
            return
        kind = life.kind
        self.runs[kind] += 1
        self._check_alone(number, kind, pid)
        if life.runs:
            before, closing = life.runs[-1]
            again = (closing is Event.RAISED and kind in _AFTER_ERRORS) or (
                before in self.shot and kind in _AFTER_DEATHS
            )
            if not again:
                state = "had not ended" if closing is None else closing.name.lower()
                self._say(
                    Rule.RUNS,
                    number,
                    kind,
                    f"began again in process {pid}, after a run in {before} that {state}",
                )
        life.runs.append((pid, None))
        if len(life.runs) > _MOST_RUNS.get(kind, 1) > 1:
            self._say(Rule.RUNS, number, kind, f"was run {len(life.runs)} times")

    def _check_alone(self, number: int, kind: Kind, pid: int) -> None:
        # What is noted of a run lies within it: so what overlaps here has overlapped.
        others = self._open[pid]
        for other, other_kind in others.items():
            if Kind.ALONE in {kind, other_kind} and Kind.ASKER not in {kind, other_kind}:
                name = other_kind.name.lower()
                what = f"began in process {pid}, where token {other} ({name}) was running"
                self._say(Rule.ALONE, number, kind, what)
        others[number] = kind

    def _begun_late(self, number: int, pid: int) -> None:
        end = self._end_of(number)
        # One that was ended from outside may just have been about to begin.
        if not end:
            self._say(Rule.RUNS, number, None, f"began in process {pid}, and was never made")
        elif end not in _BY_REQUEST.values():
            how = End(end).name.lower().replace("_", " ")
            self._say(Rule.RUNS, number, None, f"began in process {pid} after it had ended: {how}")

    def _returned(self, note: Note) -> None:
        life = self._came_to_an_end(note, Event.RETURNED)
        if life is not None and life.kind is not None:
            self._check_value(note, life.kind)

    def _raised(self, note: Note) -> None:
        self._came_to_an_end(note, Event.RAISED)

    def _came_to_an_end(self, note: Note, event: Event) -> _Life | None:
        self._open[note.pid].pop(note.number, None)
        life = self._lives.get(note.number)
        if life is None:
            return None  # it was ended from outside, or `_begun_late` has said what is to be said
        if not life.runs or life.runs[-1] != (note.pid, None):
            what = f"{event.name.lower()} in process {note.pid}, where it does not run"
            self._say(Rule.RUNS, note.number, life.kind, what)
            return None
        life.runs[-1] = note.pid, event
        return life

    def _check_value(self, note: Note, kind: Kind) -> None:
        right = result_of(kind, note.number)
        if note.value != right:
            self._say(Rule.RIGHT, note.number, kind, f"gave {note.value} instead of {right}")

    def _has_ended(self, note: Note) -> None:
        number = note.number
        life = self._lives.pop(number, None)
        if life is None or life.kind is None:
            if self._end_of(number):
                self._say(Rule.ONCE, number, None, "ended a second time")
            else:
                self._say(Rule.ALLOWED, number, None, "ended, and was never made")
            return
        self._ended.extend(bytes(max(0, number + 1 - len(self._ended))))
        self._ended[number] = note.what
        for pid, _ in life.runs:  # one that was ended from outside may have broken off anywhere
            self._open[pid].pop(number, None)
        kind, end = life.kind, End(note.what)
        self.ends[kind, end] += 1
        self._settle(number, life)
        if end is End.VALUE:
            self._check_value(note, kind)
            if not life.runs or life.runs[-1][1] is not Event.RETURNED:
                self._say(Rule.RUNS, number, kind, "has a value, and no run of it returned")
        elif end is End.LOST:
            self._check_loss(note, kind, life)
        else:
            self._check_error(number, kind, life, end)

    def _check_error(self, number: int, kind: Kind, life: _Life, end: End) -> None:
        if end is End.FAILED:
            raised = sum(closing is Event.RAISED for _, closing in life.runs)
            allowed = kind in _AFTER_ERRORS
            if kind is Kind.FLAKY and raised != RETRIES + 1:
                self._say(Rule.RUNS, number, kind, f"failed for good after {raised} runs")
        elif end is End.NEEDED:
            needs = range(number - NEEDS, number)
            allowed = kind is Kind.SUM and any(self._end_of(each) == End.LOST for each in needs)
        else:
            allowed = _BY_REQUEST.get(kind) is end
        if not allowed:
            how = end.name.lower().replace("_", " ")
            self._say(Rule.ALLOWED, number, kind, f"ended as it may not: {how}")

    def _check_loss(self, note: Note, kind: Kind, life: _Life) -> None:
        number, pid = note.number, note.pid
        if pid not in self.shot:
            what = f"was lost with process {pid}, which nobody killed"
            self._say(Rule.LOST, number, kind, what)
        passed_on = kind is Kind.ASKER and life.runs and life.runs[-1][1] is Event.RAISED
        if passed_on:
            return  # the loss of a token that it waited for
        raised = bool(life.runs) and life.runs[-1][1] is Event.RAISED
        again = kind in _AFTER_DEATHS or (raised and kind in _AFTER_ERRORS)
        if life.runs and life.runs[-1][0] != pid and not again:
            what = f"was lost with process {pid}, and had begun in {life.runs[-1][0]}"
            self._say(Rule.LOST, number, kind, what)
        if kind is not Kind.ASKER:  # which may be waiting beneath another
            self._lost[pid].add(note.value)

    def _settle(self, number: int, life: _Life) -> None:
        """Look at the runs of a token that had no end of their own."""
        for pid, closing in life.runs:
            if closing is not None or self._asked_for(number, life):
                continue
            if pid not in self.shot:
                what = f"began in process {pid}, which lives, and never came to an end"
                self._say(Rule.LOST, number, life.kind, what)
            elif life.kind is not Kind.ASKER:  # which may be waiting beneath another
                self._left[pid] += 1

    def _asked_for(self, number: int, life: _Life) -> bool:
        """Whether a token was ended from outside, so that its run may have broken off anywhere."""
        return life.kind in _BY_REQUEST and self._end_of(number) == _BY_REQUEST[life.kind]

    # ---- the end

    def _close(self) -> None:
        for number, life in self._lives.items():
            # What a token makes is heard of by nobody else, if it is lost itself.
            orphan = life.maker and self._end_of(life.maker) == End.LOST
            if not orphan:
                self._say(Rule.ENDED, number, life.kind, f"has not ended, after {_story(life)}")
            self._settle(number, life)
        for pid in sorted(self._lost.keys() | self._left.keys()):
            count = max(len(self._lost[pid]), self._left[pid])
            if count > self._threads:
                self.found[Rule.FEW] += 1
                self.findings[Rule.FEW].append(
                    f"process {pid} took {count} tokens with it, and has {self._threads} threads"
                )


def _story(life: _Life) -> str:
    if not life.runs:
        return "no run at all"
    return ", ".join(
        f"a run in process {pid} that {'broke off' if closing is None else closing.name.lower()}"
        for pid, closing in life.runs
    )
