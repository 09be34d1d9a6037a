from __future__ import annotations

import errno
import os

import pytest

from tokengate_mp.bench import machine
from tokengate_mp.cli import doctor, examination
from tokengate_mp.cli.finding import Finding, Verdict


def run_with(monkeypatch, *findings):
    """Run the doctor as if it had found these."""
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    return doctor.run(None)


def test_something_broken_is_an_exit_code_and_comes_first(monkeypatch, capsys):
    """What is broken stands above what is only noted, with what to do about it."""
    code = run_with(
        monkeypatch,
        Finding("load", "9.0", Verdict.NOTE, "wait"),
        Finding("msgspec", "not installed", Verdict.BROKEN, "pip install msgspec"),
    )
    said = capsys.readouterr().out
    assert code == 1
    assert said.index("pip install msgspec") < said.index("load: wait")
    assert "1 broken." in said


def test_a_note_is_no_failure(monkeypatch, capsys):
    """A remark alone leaves the exit code at 0."""
    assert run_with(monkeypatch, Finding("load", "9.0", Verdict.NOTE, "wait")) == 0
    assert "Nothing is broken." in capsys.readouterr().out


def test_a_missing_package_ends_the_examination(monkeypatch):
    """Nothing that would import a missing package is tried."""
    real = machine.package_versions
    monkeypatch.setattr(
        machine, "package_versions", lambda names: {**real(names), **dict.fromkeys(names[:1])}
    )
    monkeypatch.setattr(examination, "LOOKS", (lambda: pytest.fail("looked on"),))
    findings = list(doctor.examine())
    assert [f.subject for f in findings if f.verdict is Verdict.BROKEN] == ["psutil"]


def test_a_look_that_fails_is_a_finding_and_the_others_go_on(monkeypatch):
    """An unexpected error is reported with its place, and does not hide the rest."""

    def _odd_thing():
        raise RuntimeError("quite unexpected")
        yield

    monkeypatch.setattr(
        examination, "LOOKS", (_odd_thing, lambda: iter([Finding("after", "fine")]))
    )
    *_, broken, after = doctor.examine()
    assert broken.verdict is Verdict.BROKEN
    assert broken.subject == "odd thing"
    assert "RuntimeError: quite unexpected" in broken.text
    assert after == Finding("after", "fine")


def test_one_usable_cpu_is_noted(monkeypatch):
    """One CPU works, but the doctor says that nothing gets faster."""
    monkeypatch.setattr(examination, "usable_cpus", lambda: [3])
    first = next(examination._cpus())
    assert first.verdict is Verdict.NOTE
    assert first.text.startswith("1 to use: 3")
    assert "no batch gets faster" in first.remedy


def test_a_quota_shows_as_what_it_is(monkeypatch):
    """A cgroup quota of one and a half CPUs is named."""
    monkeypatch.setattr(examination, "cgroup_cpu_quota", lambda: 1.5)
    assert "1.5 by cgroup quota" in next(examination._cpus()).text


def test_a_count_that_is_none_is_said_to_be_ignored(monkeypatch):
    """PYTHON_CPU_COUNT=default, or a typing error, is shown as without effect."""
    monkeypatch.setenv("PYTHON_CPU_COUNT", "many")
    assert "PYTHON_CPU_COUNT=many (no count: ignored)" in next(examination._cpus()).text


def test_too_few_descriptors_are_broken(monkeypatch):
    """A limit below what the core domains need is found, with the command that raises it."""
    monkeypatch.setattr(examination.resource, "getrlimit", lambda _: (70, 1024))
    (finding,) = examination._limits()
    assert finding.verdict is Verdict.BROKEN
    assert "ulimit -n 1024" in finding.remedy


def test_the_portable_path_is_noted(monkeypatch):
    """Where Linux calls are switched off the doctor says by what, and looks at /dev/shm."""
    monkeypatch.setenv("TOKENGATE_MP_PORTABLE", "1")
    first, *rest = examination._shared_memory()
    assert "TOKENGATE_MP_PORTABLE is set" in first.text
    assert all("not used" not in finding.text for finding in rest)
    assert next(examination._doorbell()).text == "socket pair"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfds")
def test_it_says_how_the_ends_of_processes_are_seen(monkeypatch):
    """By pidfd; where the portable path was chosen by what that has; refused, that is noted."""
    (finding,) = examination._ends_of_processes()
    assert finding == Finding("ends of processes", "seen by pidfd")

    def refuse(_pid):
        raise PermissionError(errno.EPERM, "not in here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    (finding,) = examination._ends_of_processes()
    assert finding.verdict is Verdict.NOTE
    assert "pidfd_open is refused" in finding.text
    monkeypatch.setenv("TOKENGATE_MP_PORTABLE", "1")
    (finding,) = examination._ends_of_processes()
    assert finding == Finding("ends of processes", "seen by their control sockets")


@pytest.mark.parametrize(
    ("count", "text"),
    [(1023, "1023 B"), (1536, "2 KiB"), (5 << 20, "5 MiB"), (3 << 30, "3.0 GiB")],
)
def test_sizes_are_read_at_a_glance(count, text):
    """A number of bytes is shown in the unit that suits it."""
    assert examination._size(count) == text
