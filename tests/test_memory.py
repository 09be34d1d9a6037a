"""Defaults that depend on memory heed the control groups of the process."""

from __future__ import annotations

import pytest

from tokengate_mp.config import memory as module
from tokengate_mp.config.memory import cgroup_memory_limit, memory


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "0::/\n", None),
        ({"a/memory.max": "max\n"}, "0::/a\n", None),
        ({"a/memory.max": "1000\n"}, "0::/a\n", 1000),
        ({"a/memory.max": "500\n", "a/b/memory.max": "1000\n"}, "0::/a/b\n", 500),
        ({"memory.max": "700"}, "0::/of/the/host\n", 700),
        ({"memory/a/memory.limit_in_bytes": "300"}, "5:memory:/a\n4:cpu:/b\n", 300),
        ({"memory/memory.limit_in_bytes": "300"}, "5:cpu:/a\n", None),
        ({"a/memory.max": "nonsense"}, "0::/a\n", None),
    ],
)
def test_the_lowest_limit_on_the_way_up_counts(tmp_path, files, membership, expected):
    """Of both versions of control groups, in a container and outside."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    own = tmp_path / "membership"
    own.write_text(membership)
    assert cgroup_memory_limit(tmp_path, own) == expected
    assert cgroup_memory_limit(tmp_path, tmp_path / "missing") is None


def test_a_limit_beyond_the_machine_is_none(monkeypatch):
    """As version 1 says where there is no limit."""
    monkeypatch.setattr(module, "cgroup_memory_limit", lambda: None)
    machine = memory()
    monkeypatch.setattr(module, "cgroup_memory_limit", lambda: 1 << 62)
    assert memory() == machine
    monkeypatch.setattr(module, "cgroup_memory_limit", lambda: 1 << 20)
    assert memory() == 1 << 20
