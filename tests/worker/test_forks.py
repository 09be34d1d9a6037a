"""Functions that fork, and whose child comes back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from tokengate_mp import OperationsCoordinator


def _fork(how, status):
    """Fork; what becomes of the child is written to a file, the parent returns its number."""
    child = os.fork()
    if child == 0:
        if how == "exit":
            sys.exit("in the child")
        if how == "raise":
            raise ValueError("in the child")
        return "in the child"
    _, waited = os.waitpid(child, 0)
    Path(status).write_text(str(os.waitstatus_to_exitcode(waited)), encoding="utf-8")
    return child


@pytest.mark.parametrize(("how", "status"), [("return", "0"), ("raise", "1"), ("exit", "1")])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_child_ends_where_it_would_answer(tmp_path, how, status):
    """The token's outcome is the original's, the child ends, and the core goes on."""
    said = tmp_path / "status"
    with OperationsCoordinator(cores=1) as coordinator:
        pid = coordinator.get_stats()["cores"][0]["pid"]
        token = coordinator.submit(_fork, how, str(said))
        child = token.get(20)
        assert isinstance(child, int)
        assert said.read_text(encoding="utf-8") == status
        assert not psutil.pid_exists(child)
        assert coordinator.submit(os.getpid).get(20) == pid
        assert coordinator.get_stats()["cores"][0]["restarts"] == 0
