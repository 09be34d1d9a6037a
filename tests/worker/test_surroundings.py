"""What core processes begin with is the same for all of one coordinator."""

from __future__ import annotations

import logging
import os
import signal
import sys

import pytest
import scripts

from tokengate_mp import OperationsCoordinator, WorkerLost


def _surroundings():
    return {
        "hash": hash("a word"),
        "cwd": os.getcwd(),  # noqa: PTH109 - compared as text
        "variable": os.environ.get("SURROUNDINGS"),
        "seed": os.environ.get("PYTHONHASHSEED"),
        "path": list(sys.path),
        "level": logging.getLogger("surroundings").level,
        "named": logging.getLevelName(27),
    }


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_takes_over_begins_like_the_one_before(tmp_path, monkeypatch):
    """The environment, the directory, sys.path and log levels, whatever has changed since."""
    logger = logging.getLogger("surroundings")
    monkeypatch.setenv("SURROUNDINGS", "as at the start")
    monkeypatch.chdir(tmp_path)
    logging.addLevelName(27, "NOTICE")
    logger.setLevel(27)
    try:
        with OperationsCoordinator(cores=1) as coordinator:
            before = coordinator.submit(_surroundings).get(20)
            monkeypatch.setenv("SURROUNDINGS", "changed")
            monkeypatch.chdir("/")
            monkeypatch.syspath_prepend("/elsewhere")
            logger.setLevel(logging.ERROR)
            with pytest.raises(WorkerLost):
                coordinator.submit(_die).get(20)
            assert coordinator.submit(_surroundings).get(20) == before
    finally:
        logger.setLevel(logging.NOTSET)
    assert before["variable"] == "as at the start"
    assert before["cwd"] == str(tmp_path)
    assert (before["level"], before["named"]) == (27, "NOTICE")
    assert before["seed"] == os.environ.get("PYTHONHASHSEED")


# Who runs the tests may have given a seed, as tox does.
GIVEN = os.environ.get("PYTHONHASHSEED", "random") != "random"


@pytest.mark.parametrize(
    ("given", "alike"),
    [(None, GIVEN), ("random", False), ("7", True)],
    ids=["as it is", "random", "7"],
)
def test_all_cores_hash_by_one_seed(tmp_path, given, alike):
    """Which is the user's if there is one; commands that they start are told of no other."""
    code = """
        import os, sys
        from tokengate_mp import OperationsCoordinator

        def seen():
            return hash("a word"), os.environ.get("PYTHONHASHSEED"), os.getpid()

        with OperationsCoordinator(cores=2, threads_per_core=1) as coordinator:
            found = set()
            while len({pid for _, _, pid in found}) < 2:
                found.update(token.get() for token in [coordinator.submit(seen) for _ in range(20)])
        (hashed,) = {number for number, _, _ in found}
        (seed,) = {seed for _, seed, _ in found}
        print(seed == os.environ.get("PYTHONHASHSEED"), hashed == hash("a word"))
    """
    env = {} if given is None else {"PYTHONHASHSEED": given}
    said = scripts.output(tmp_path / "hashes.py", code, env=env).split()
    assert said == ["True", str(alike)]
