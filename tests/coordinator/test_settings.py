"""What a coordinator can be told, and what it refuses, before anything is started."""

from __future__ import annotations

import os

import pytest

from tokengate_mp import OperationsCoordinator
from tokengate_mp.config import cpus as topology

CPUS = topology.usable_cpus()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"cores": 0}, ValueError, "cores must be from 1 to 4096, not 0"),
        ({"cores": -1}, ValueError, "cores must be from 1 to 4096, not -1"),
        ({"cores": True}, TypeError, "cores must be an int, not bool"),
        ({"cores": 1.5}, TypeError, "a count or a list of CPU numbers, not float"),
        ({"cores": "01"}, TypeError, "a count or a list of CPU numbers, not str"),
        ({"cores": []}, ValueError, "empty list"),
        ({"cores": [True]}, TypeError, "CPU numbers, not bool"),
        ({"cores": ["0"]}, TypeError, "CPU numbers, not str"),
        ({"cores": [-1]}, ValueError, "names CPU -1, which this process may not use; it may use"),
        ({"cores": [*CPUS, 4095]}, ValueError, "names CPU 4095"),
        ({"threads_per_core": 0}, ValueError, "threads_per_core must be from 1 to 256, not 0"),
        ({"threads_per_core": 257}, ValueError, "threads_per_core must be from 1 to 256, not 257"),
        ({"threads_per_core": True}, TypeError, "threads_per_core must be an int, not bool"),
        ({"threads_per_core": None}, TypeError, "threads_per_core must be an int, not NoneType"),
        ({"ring_bytes": 1 << 11}, ValueError, "ring_bytes must be from 4096 to 1073741824"),
        ({"ring_bytes": 1 << 31}, ValueError, "ring_bytes must be from 4096 to 1073741824"),
        ({"ring_bytes": 5000}, ValueError, "ring_bytes must be a power of two, not 5000"),
        ({"ring_bytes": 4096.0}, TypeError, "ring_bytes must be an int, not float"),
        ({"routing": "strickt"}, ValueError, "'strict', 'work_conserving', not 'strickt'"),
        ({"routing": None}, ValueError, "'strict', 'work_conserving', not None"),
        ({"grace": -1}, ValueError, "grace must be a number of seconds from 0 up"),
        ({"grace": float("nan")}, ValueError, "grace must be a number of seconds from 0 up"),
        ({"grace": float("inf")}, ValueError, "grace must be a number of seconds from 0 up"),
        ({"grace": "2"}, TypeError, "grace must be a number of seconds, not str"),
    ],
)
def test_a_bad_value_is_refused_when_the_coordinator_is_made(arguments, error, words):
    """A value of the wrong type or out of range is named, with what is allowed."""
    with pytest.raises(error, match=words):
        OperationsCoordinator(**arguments)


def test_cores_as_a_count_goes_round_the_usable_cpus():
    """More core domains than CPUs is allowed; they share them in turn."""
    assert OperationsCoordinator(cores=1).settings.cpus == (CPUS[0],)
    many = OperationsCoordinator(cores=3 * len(CPUS)).settings.cpus
    assert many == tuple(CPUS) * 3


def test_cores_as_a_list_is_taken_as_it_is():
    """A list names the CPU of each core domain, in order, repeated where it repeats."""
    last = CPUS[-1]
    assert OperationsCoordinator(cores=[last, last, CPUS[0]]).settings.cpus == (last, last, CPUS[0])
    assert OperationsCoordinator(cores=(cpu for cpu in CPUS)).settings.cpus == tuple(CPUS)


def test_cores_default_to_what_this_process_may_use():
    """Without a word, there is one core domain for each usable CPU."""
    assert OperationsCoordinator().settings.cpus == tuple(CPUS)


def test_bounds_are_within():
    """The ends of each range are allowed."""
    for threads in (1, 256):
        assert OperationsCoordinator(threads_per_core=threads).settings.threads_per_core == threads
    for ring_bytes in (1 << 12, 1 << 30):
        assert OperationsCoordinator(ring_bytes=ring_bytes).settings.ring_bytes == ring_bytes
    assert OperationsCoordinator(cores=4096).settings.cpus[:1] == (CPUS[0],)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_affinity_counts(monkeypatch):
    """A CPU outside the affinity mask is no usable CPU."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 1, 7})
    monkeypatch.setattr(topology, "cgroup_cpu_quota", lambda: None)
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    assert topology.usable_cpus() == [1, 3, 7]
    assert OperationsCoordinator().settings.cpus == (1, 3, 7)
    with pytest.raises(ValueError, match=r"names CPU 2, .* it may use 1, 3, 7"):
        OperationsCoordinator(cores=[2])


@pytest.mark.parametrize(
    ("quota", "expected"),
    [(None, [1, 3, 7]), (2.0, [1, 3]), (1.2, [1, 3]), (0.3, [1]), (9.0, [1, 3, 7])],
)
def test_a_quota_counts(monkeypatch, quota, expected):
    """A cgroup's quota limits the CPUs, rounded up, and never to none."""
    monkeypatch.setattr(topology, "affinity", lambda: [1, 3, 7])
    monkeypatch.setattr(topology, "cgroup_cpu_quota", lambda: quota)
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    assert topology.usable_cpus() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", [1]), ("4", [1, 3, 7, 1]), ("0", [1, 3]), ("default", [1, 3]), ("", [1, 3])],
)
def test_python_cpu_count_goes_before_the_quota(monkeypatch, text, expected):
    """PYTHON_CPU_COUNT says how many; what is no number above 0 says nothing."""
    monkeypatch.setattr(topology, "affinity", lambda: [1, 3, 7])
    monkeypatch.setattr(topology, "cgroup_cpu_quota", lambda: 2.0)
    monkeypatch.setenv("PYTHON_CPU_COUNT", text)
    assert topology.usable_cpus() == expected


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "0::/", None),
        ({"a/cpu.max": "max 100000"}, "0::/a", None),
        ({"a/cpu.max": "150000 100000"}, "0::/a", 1.5),
        ({"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 1.5),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b", 0.5),
        ({"cpu.max": "200000 100000"}, "0::/of/the/host", 2.0),
        (
            {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/a\n2:memory:/a",
            2.5,
        ),
        (
            {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/a",
            None,
        ),
        ({"a/cpu.max": "nonsense"}, "0::/a", None),
    ],
)
def test_cgroup_quotas_are_found_on_the_way_up(tmp_path, files, membership, expected):
    """The lowest limit of this process's groups and of all those above them counts, v1 and v2."""
    for name, content in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content + "\n")
    own = tmp_path / "own"
    own.write_text(membership + "\n")
    assert topology.cgroup_cpu_quota(tmp_path / "root", own) == expected
    assert topology.cgroup_cpu_quota(tmp_path / "root", tmp_path / "missing") is None
