"""What user code finds in a core process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import work

from tokengate_mp import OperationsCoordinator


@pytest.fixture(scope="module")
def coordinator():
    """A coordinator with one core."""
    with OperationsCoordinator(cores=1) as running:
        yield running


def test_it_inherits_only_what_it_needs(coordinator):
    """A descriptor that the parent has open, and even inheritable, is not passed on."""
    reading, writing = os.pipe()
    try:
        os.set_inheritable(writing, True)
        with Path(os.devnull).open() as file:
            targets = coordinator.submit(work.descriptors).get(20)
            assert file.name not in targets[3:]
        own = str(Path(f"/proc/self/fd/{writing}").readlink())
        assert own not in targets
    finally:
        os.close(reading)
        os.close(writing)
    assert targets[0] == os.devnull


def test_what_a_token_starts_inherits_nothing(coordinator):
    """A process that a token starts keeps no descriptor of ours open."""
    seen = coordinator.submit(work.descriptors_of_a_child).get(20)
    assert len(seen) <= 4  # the three standard streams, and the listing itself


def test_user_code_finds_an_ordinary_process(coordinator):
    """__main__ is there, and multiprocessing sees a worker, as in any process of a pool."""
    assert coordinator.submit(eval, "__import__('__main__').__name__").get(20) == "__main__"
    assert coordinator.submit(_is_a_child).get(20) is True


def _is_a_child() -> bool:
    import multiprocessing

    return multiprocessing.parent_process() is not None


def test_reading_input_finds_its_end(coordinator):
    """A core process has no input of its own to steal from the parent."""
    assert coordinator.submit(eval, "__import__('sys').stdin.read()").get(20) == ""


def test_tokens_may_use_processes_and_threads(coordinator):
    """A token can run a command, and threads of its own."""
    done = coordinator.submit(
        subprocess.run, [sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True
    ).get(20)
    assert done.stdout == b"42\n"
    assert coordinator.submit(work.sum_in_threads, 5).get(20) == 10


def test_a_token_may_import_a_module_with_a_broken_shutdown(coordinator):
    """State that a token leaves in its process is there for the next one of that core."""
    coordinator.submit(exec, "import builtins; builtins._left = 5").get(20)
    assert coordinator.submit(eval, "_left").get(20) == 5
