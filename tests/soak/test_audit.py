"""A journal of what must not happen is told from one of what may."""

from __future__ import annotations

import pytest

from tokengate_mp.soak import journal
from tokengate_mp.soak.audit import Audit, Rule
from tokengate_mp.soak.journal import End, Event, Note
from tokengate_mp.soak.load import Kind, result_of

HERE, THERE, ELSEWHERE = 101, 102, 103
THREADS = 2


def made(number, kind=Kind.NAP, maker=0):
    """A token is made."""
    return Note(number, maker, 1, Event.MADE, kind)


def begun(number, pid=HERE):
    """A run begins."""
    return Note(number, 0, pid, Event.BEGUN)


def returned(number, kind=Kind.NAP, pid=HERE):
    """A run returns what it should."""
    return Note(number, result_of(kind, number), pid, Event.RETURNED)


def raised(number, pid=HERE):
    """A run raises."""
    return Note(number, 0, pid, Event.RAISED)


def shot(pid=HERE):
    """A process is about to be killed."""
    return Note(0, 0, pid, Event.SHOT)


def value(number, kind=Kind.NAP):
    """A token ends with its value."""
    return Note(number, result_of(kind, number), 0, Event.ENDED, End.VALUE)


def lost(number, pid=HERE, engine=None):
    """A token ends lost."""
    return Note(number, engine or number, pid, Event.ENDED, End.LOST)


def ended(number, end):
    """A token ends in another way."""
    return Note(number, 0, 0, Event.ENDED, end)


def run(number, kind=Kind.NAP, pid=HERE):
    """Give the notes of a whole run."""
    return [begun(number, pid), returned(number, kind, pid)]


def broken(notes):
    """Give the rules that a journal breaks."""
    audit = Audit(THREADS)
    audit.read(notes)
    assert all(audit.found[rule] >= len(audit.findings[rule]) > 0 for rule in audit.found)
    return set(audit.found)


ALLOWED = {
    "a value": [made(1), *run(1), value(1)],
    "lost while it ran": [made(1), begun(1), shot(), lost(1)],
    "lost before it could note that it ran": [made(1), shot(), lost(1)],
    "lost before its outcome was published": [made(1), *run(1), shot(), lost(1)],
    "run again after errors": [
        made(1, Kind.FLAKY),
        *[begun(1), raised(1)] * 3,
        *run(1, Kind.FLAKY, THERE),
        value(1, Kind.FLAKY),
    ],
    "failed for good": [
        made(1, Kind.FLAKY),
        *[begun(1), raised(1)] * 4,
        ended(1, End.FAILED),
    ],
    "lost in a run after one that raised": [
        made(1, Kind.FLAKY),
        *[begun(1), raised(1)],
        *[shot(THERE), lost(1, THERE)],
    ],
    "run again after a death": [
        made(1, Kind.SURE),
        begun(1),
        shot(),
        *run(1, Kind.SURE, THERE),
        value(1, Kind.SURE),
    ],
    "lost by two processes": [
        made(1, Kind.SURE),
        begun(1),
        shot(),
        begun(1, THERE),
        shot(THERE),
        lost(1, THERE),
    ],
    "killed on request": [made(1, Kind.DOOMED), begun(1), ended(1, End.KILLED), raised(1)],
    "begun as it was cancelled": [made(1, Kind.DROPPED), ended(1, End.CANCELLED), begun(1)],
    "out of time": [made(1, Kind.HASTY), ended(1, End.TIMED_OUT)],
    "needed by another": [
        *[made(1), *run(1), value(1)],
        *[made(2), begun(2), shot(), lost(2)],
        *[made(3, Kind.SUM), ended(3, End.NEEDED)],
    ],
    "made by one that was lost": [
        made(1, Kind.LEAD),
        begun(1),
        made(2, Kind.CHILD, 1),
        shot(),
        lost(1),
        *run(2, Kind.CHILD, THERE),
    ],
    "as many lost as there are threads": [
        *[made(1), begun(1), made(2), begun(2), shot()],
        *[lost(1), lost(2)],
    ],
    "waiting beneath one of those": [
        *[made(1), begun(1), made(2), begun(2), made(3, Kind.ASKER), begun(3), shot()],
        *[lost(1), lost(2), lost(3)],
    ],
    "alone beside one that waits, and before and after others": [
        *[made(1, Kind.ASKER), begun(1), made(2), *run(2), value(2)],
        *[made(3, Kind.ALONE), *run(3, Kind.ALONE), value(3, Kind.ALONE)],
        *[made(4), begun(4), returned(1, Kind.ASKER), value(1, Kind.ASKER)],
        *[returned(4), value(4)],
    ],
    "alone in each of two processes": [
        *[made(1, Kind.ALONE), begun(1), made(2, Kind.ALONE), begun(2, THERE)],
        *[returned(1, Kind.ALONE), returned(2, Kind.ALONE, THERE)],
        *[value(1, Kind.ALONE), value(2, Kind.ALONE)],
    ],
    "alone in a process that has the number of one that was killed": [
        *[made(1), begun(1), shot(), made(2, Kind.ALONE), *run(2, Kind.ALONE)],
        *[value(2, Kind.ALONE), lost(1)],
    ],
}


@pytest.mark.parametrize("story", ALLOWED)
def test_what_may_happen(story):
    """Nothing is found in a journal of what is promised."""
    assert broken(ALLOWED[story]) == set()


FORBIDDEN = {
    "no outcome": (Rule.ENDED, [made(1), *run(1)]),
    "no outcome, and never begun": (Rule.ENDED, [made(1)]),
    "no outcome of a token whose maker has one": (
        Rule.ENDED,
        [
            *[made(1, Kind.LEAD), begun(1), made(2, Kind.CHILD, 1), returned(1, Kind.LEAD)],
            *[value(1, Kind.LEAD), *run(2, Kind.CHILD)],
        ],
    ),
    "two outcomes": (Rule.ONCE, [made(1), *run(1), value(1), value(1)]),
    "an outcome of one that was lost": (Rule.ONCE, [made(1), begun(1), shot(), lost(1), value(1)]),
    "the value of another": (Rule.RIGHT, [made(1), *run(1), value(1)._replace(value=7)]),
    "a wrong value, inside": (Rule.RIGHT, [made(1), begun(1), returned(2)._replace(number=1)]),
    "a value without a run": (Rule.RUNS, [made(1), value(1)]),
    "a value without an end of its run": (Rule.RUNS, [made(1), begun(1), shot(), value(1)]),
    "two runs": (Rule.RUNS, [made(1), *run(1), *run(1, pid=THERE), value(1)]),
    "two runs, the first of which was killed": (
        Rule.RUNS,
        [made(1), begun(1), shot(), *run(1, pid=THERE), value(1)],
    ),
    "two runs at once of what may be run again": (
        Rule.RUNS,
        [made(1, Kind.SURE), begun(1), begun(1, THERE)],
    ),
    "a run again after a value": (
        Rule.RUNS,
        [made(1, Kind.FLAKY), *run(1, Kind.FLAKY), *run(1, Kind.FLAKY, THERE)],
    ),
    "a run again after a death, without being allowed that": (
        Rule.RUNS,
        [made(1, Kind.FLAKY), begun(1), shot(), begun(1, THERE)],
    ),
    "too many runs": (Rule.RUNS, [made(1, Kind.FLAKY), *[begun(1), raised(1)] * 5]),
    "more processes than it may take": (
        Rule.RUNS,
        [
            *[made(1, Kind.SURE), begun(1), shot(), begun(1, THERE), shot(THERE)],
            begun(1, ELSEWHERE),
        ],
    ),
    "too few runs": (Rule.RUNS, [made(1, Kind.FLAKY), begun(1), raised(1), ended(1, End.FAILED)]),
    "a run after the end": (Rule.RUNS, [made(1), *run(1), value(1), begun(1, THERE)]),
    "a run of one that was lost": (
        Rule.RUNS,
        [made(1), begun(1), shot(), lost(1), begun(1, THERE)],
    ),
    "a run of nothing": (Rule.RUNS, [begun(1)]),
    "an end of a run elsewhere": (Rule.RUNS, [made(1), begun(1), returned(1, pid=THERE)]),
    "made twice": (Rule.RUNS, [made(1), made(1)]),
    "killed, and nobody asked": (Rule.ALLOWED, [made(1), ended(1, End.KILLED)]),
    "failed, and it never fails": (Rule.ALLOWED, [made(1), ended(1, End.FAILED)]),
    "an unknown error": (Rule.ALLOWED, [made(1, Kind.FLAKY), ended(1, End.OTHER)]),
    "not what it needs": (
        Rule.ALLOWED,
        [
            *[made(1), *run(1), value(1), made(2), *run(2), value(2)],
            *[made(3, Kind.SUM), ended(3, End.NEEDED)],
        ],
    ),
    "an end of nothing": (Rule.ALLOWED, [value(1)]),
    "lost, and nobody was killed": (Rule.LOST, [made(1), begun(1), lost(1)]),
    "lost with another process": (Rule.LOST, [made(1), begun(1, THERE), shot(), lost(1)]),
    "broken off in a process that lives": (
        Rule.LOST,
        [made(1, Kind.FLAKY), begun(1), *[raised(1), begun(1)] * 3, ended(1, End.FAILED)],
    ),
    "begun beside one that is alone": (
        Rule.ALONE,
        [made(1, Kind.ALONE), begun(1), made(2), begun(2)],
    ),
    "alone, and begun beside another": (
        Rule.ALONE,
        [made(1), begun(1), made(2, Kind.ALONE), begun(2)],
    ),
    "two that are alone together": (
        Rule.ALONE,
        [made(1, Kind.ALONE), begun(1), made(2, Kind.ALONE), begun(2)],
    ),
    "more lost than there are threads": (
        Rule.FEW,
        [made(1), made(2), made(3), shot(), lost(1), lost(2), lost(3)],
    ),
    "more begun than there are threads": (
        Rule.FEW,
        [
            *[each for n in (1, 2, 3) for each in (made(n, Kind.SURE), begun(n))],
            shot(),
            *[each for n in (1, 2, 3) for each in (*run(n, Kind.SURE, THERE), value(n, Kind.SURE))],
        ],
    ),
}


@pytest.mark.parametrize("story", FORBIDDEN)
def test_what_must_not_happen(story):
    """Each breach is found, and said to be of the rule that it breaks."""
    rule, notes = FORBIDDEN[story]
    assert rule in broken(notes)


def test_a_finding_names_the_token():
    """Of each rule some findings are told, with number, kind and processes, and all are counted."""
    audit = Audit(THREADS)
    audit.read([each for n in range(1, 10) for each in (made(n), begun(n), begun(n, THERE))])
    assert audit.findings[Rule.RUNS][0] == (
        f"token 1 (nap) began again in process {THERE}, after a run in {HERE} that had not ended"
    )
    assert len(audit.findings[Rule.RUNS]) < audit.found[Rule.RUNS] == 9


def test_a_journal_is_read_as_it_was_written(tmp_path):
    """Notes come back in their order, whole, with the time at which they were made."""
    path = tmp_path / "journal"
    notes = [made(1), begun(1), value(1), lost(2**63, 2**31)]
    for note in notes:
        journal.write(str(path), note)
    journal.close(str(path))
    read = list(journal.read(path))
    assert [note._replace(time=0) for note in read] == notes
    assert 0 < read[0].time <= read[-1].time
    journal.forge(path, read)
    assert list(journal.read(path)) == read


def test_a_torn_journal_is_refused(tmp_path):
    """A file that ends within a note is said to, and not read as if it were whole."""
    path = tmp_path / "journal"
    journal.forge(path, [made(1)])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="in the middle of a note"):
        list(journal.read(path))
