"""The soak itself: it finds nothing where there is nothing, and names what there is."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections import Counter

import pytest

from tokengate_mp.cli import main
from tokengate_mp.soak import outside, verdict
from tokengate_mp.soak.audit import Audit, Rule
from tokengate_mp.soak.driver import Course, Driver, Plan
from tokengate_mp.soak.journal import End, Event, Note
from tokengate_mp.soak.load import Kind, result_of

PLAN = Plan(seconds=1, kills=1, seed=1, cores=2, threads=4, patience=1, journal="/nowhere/journal")


def failed(judgement):
    """Give the names of the checks that do not hold."""
    return [check.name for check in judgement.checks if not check.good]


def judged(course=None, audit=None, left=()):
    """Give the names of the checks that do not hold, where everything else is as it should be."""
    course = course or Course(elapsed=1.0)
    if not course.stats:
        course.stats = stats()
    return failed(verdict.judged(PLAN, course, audit or Audit(4), list(left)))


def stats(restarts=0, waiting=0, **operations):
    """Give what a coordinator says of itself."""
    return {
        "cores": [{"restarts": restarts}],
        "tokens": {"waiting": waiting, "admitted": 0, "executing": 0},
        "operations": {f"soak.{name}": {"counts": c} for name, c in operations.items()},
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_a_few_seconds(seed):
    """Under kills, every check holds; and something of everything that may happen has happened."""
    judgement = verdict.soak(seconds=3, kills=4, seed=seed, cores=2)
    assert failed(judgement) == []
    assert judgement.kills > 0
    assert all(judgement.made[kind] for kind in Kind)
    ends = Counter()
    for (_, end), count in judgement.ends.items():
        ends[end] += count
    assert all(ends[end] for end in (End.VALUE, End.KILLED, End.CANCELLED, End.TIMED_OUT))
    assert judgement.runs[Kind.FLAKY] > judgement.made[Kind.FLAKY]


def test_the_command(capsys, tmp_path):
    """It shows each kind and each check, writes both as JSON, and exits with 0."""
    path = tmp_path / "soak.json"
    words = ["soak", "--seconds", "1", "--kills-per-second", "2", "--seed", "5", "--cores", "2"]
    assert main([*words, "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    document = json.loads(path.read_text())
    assert document["good"]
    assert document["plan"]["seed"] == 5
    assert set(document["kinds"]) == {kind.name.lower() for kind in Kind}
    for rule in Rule:
        assert f"✓ {rule.value}"[:40] in shown
    assert "It is not so" not in shown


def test_a_check_that_does_not_hold_is_named(capsys, monkeypatch):
    """The exit code is 1, and the last lines say what is not so and how to try again."""

    def soaked(**asked):
        return verdict.judged(PLAN, Course(elapsed=1.0, stats=stats(restarts=1)), Audit(4), [])

    monkeypatch.setattr("tokengate_mp.cli.soak.soak", soaked)
    assert main(["soak", "--seconds", "1"]) == 1
    shown = capsys.readouterr().out
    assert "✗ no process ended but those that were killed" in shown
    assert "It is not so that no process ended but those that were killed." in shown
    assert "tokengate-mp soak --cores 2 --seconds 1 --kills-per-second 1 --seed 1" in shown


def test_tokens_that_never_end_are_reported(monkeypatch):
    """A soak does not wait for ever: what is pending is named, and breaks its check."""

    async def pause(_self, coordinator, _end):
        coordinator.pause_admission()

    monkeypatch.setattr(Driver, "_shoot", pause)
    judgement = verdict.soak(seconds=0.5, kills=0, seed=1, cores=1, patience=0.5)
    assert Rule.ENDED.value in failed(judgement)
    (check,) = [each for each in judgement.checks if each.name == Rule.ENDED.value]
    assert check.found.startswith("pending after 0.5 s: ")


def test_a_process_that_nobody_killed_is_noticed(monkeypatch):
    """One that dies besides those that the soak kills breaks a check."""

    async def kill_in_secret(self, coordinator, _end):
        pid = coordinator.get_stats()["cores"][0]["pid"]
        os.kill(pid, signal.SIGKILL)
        await self._replaced(coordinator, 1, pid)

    monkeypatch.setattr(Driver, "_shoot", kill_in_secret)
    judgement = verdict.soak(seconds=0.5, kills=0, seed=1, cores=1)
    assert "no process ended but those that were killed" in failed(judgement)


def test_what_is_seen_from_outside():
    """Each check holds where all is well, and is named where it is not."""
    assert judged() == []
    growing = Course(elapsed=1.0)
    growing.samples.rss = [10**8] * 5 + [2 * 10**8] * 5
    assert judged(growing) == ["memory is flat"]
    leaking = Course(elapsed=1.0)
    leaking.samples.fds = list(range(30))
    assert judged(leaking) == ["descriptors are flat"]
    assert judged(left=["process 7"]) == ["nothing is left behind"]
    assert judged(Course(complaints=["oh"])) == ["nothing else was complained of"]
    assert judged(Course(pending="pending after 1 s: 3 tokens")) == [Rule.ENDED.value]
    assert judged(Course(kills=2, stats=stats(restarts=1))) == [
        "no process ended but those that were killed"
    ]


def test_what_the_coordinator_counted():
    """Its counts have to be those of what was delivered, and nothing may be left in it."""
    audit = Audit(4)
    right = result_of(Kind.NAP, 1)
    audit.read(
        [
            Note(1, 0, 1, Event.MADE, Kind.NAP),
            Note(1, 0, 9, Event.BEGUN),
            Note(1, right, 9, Event.RETURNED),
            Note(1, right, 0, Event.ENDED, End.VALUE),
        ]
    )
    name = "the coordinator has counted the same"
    assert judged(Course(stats=stats(nap={"completed": 1})), audit) == []
    assert judged(Course(stats=stats(nap={"completed": 2})), audit) == [name]
    assert judged(Course(stats=stats(nap={"completed": 1, "failed": 1})), audit) == [name]
    assert judged(Course(stats=stats(waiting=1, nap={"completed": 1})), audit) == [name]


def test_complaints_are_heard():
    """What the engine logs is taken note of, but for the deaths that are meant."""
    with outside.Complaints() as complaints:
        logging.getLogger("tokengate_mp.cores.supervisor").warning("a process ended")
        logging.getLogger("tokengate_mp.cores.supervisor").error("a core is given up")
        logging.getLogger("tokengate_mp.engine.control").warning("a token has not ended")
    logging.getLogger("tokengate_mp.engine.control").debug("afterwards")
    assert len(complaints.heard) == 2
    assert "given up" in complaints.heard[0]


def test_what_is_left_is_found(monkeypatch):
    """Descriptors that were not there before are named; and after them, nothing."""
    monkeypatch.setattr(outside, "_SETTLE", 0.0)
    before = outside.Holdings()
    ends = os.pipe()
    assert before.left() == ["2 descriptors"]
    for end in ends:
        os.close(end)
    assert before.left() == []
