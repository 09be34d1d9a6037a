"""The ordinary end of a core process is that of a Python program."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tokengate_mp import OperationsCoordinator, TokenGateExecutor

ENDINGS = ["atexit", "finalizer", "file", "thread", "pool"]
_kept = {}


class _Thing:
    pass


def _leave_behind(folder: str) -> list[str]:
    """Leave everything behind whose end leaves a trace; once in a process. Give its marks."""
    here = Path(folder, str(os.getpid()))
    marks = [f"{here.name}.{ending}" for ending in ENDINGS]
    if _kept.setdefault("by", threading.get_ident()) != threading.get_ident() or len(_kept) > 1:
        return marks
    atexit.register(Path(f"{here}.atexit").touch)
    thing = _kept["thing"] = _Thing()
    weakref.finalize(thing, Path(f"{here}.finalizer").touch)
    _kept["directory"] = tempfile.TemporaryDirectory(dir=folder, prefix="temporary")
    file = _kept["file"] = Path(f"{here}.file").open("w", encoding="utf-8")  # noqa: SIM115 - left open
    file.write("line\n")

    def after_main_thread(ending):
        threading.main_thread().join()
        Path(f"{here}.{ending}").touch()

    threading.Thread(target=after_main_thread, args=("thread",), daemon=False).start()
    pool = _kept["pool"] = ThreadPoolExecutor(1)
    pool.submit(_wait_for_shutdown, Path(f"{here}.pool"))
    return marks


def _wait_for_shutdown(mark):
    from concurrent.futures import thread

    while not thread._shutdown:
        time.sleep(0.001)
    mark.touch()


def _check(folder: Path, marks: set[str]) -> None:
    left = set(os.listdir(folder))  # noqa: PTH208 - names are wanted
    assert left == marks
    for mark in marks:
        if mark.endswith(".file"):
            assert Path(folder, mark).read_text(encoding="utf-8") == "line\n"


@pytest.mark.parametrize("turn", range(6))
def test_all_that_was_left_behind_is_seen_to(tmp_path, turn):
    """Hooks, finalizers, temporary directories, files in globals, threads and pools of threads."""
    marks = set()
    if turn % 2:
        with TokenGateExecutor(2) as executor:
            futures = [executor.submit(_leave_behind, str(tmp_path)) for _ in range(20)]
            marks.update(*(future.result() for future in futures))
    else:
        with OperationsCoordinator(cores=2) as coordinator:
            tokens = [coordinator.submit(_leave_behind, str(tmp_path)) for _ in range(20)]
            marks.update(*(token.get(20) for token in tokens))
    _check(tmp_path, marks)


def test_a_block_that_an_exception_ends(tmp_path):
    """Tokens that run are interrupted, and those that nothing interrupts stay behind."""
    marks = set()
    with pytest.raises(KeyError), OperationsCoordinator(cores=2) as coordinator:  # noqa: PT012 - all of the block
        tokens = [coordinator.submit(_leave_behind, str(tmp_path)) for _ in range(8)]
        marks.update(*(token.get(20) for token in tokens))
        running = [coordinator.submit(time.sleep, 60), coordinator.submit(_spin)]
        while not all(str(token.state).endswith("EXECUTING") for token in running):
            time.sleep(0.001)
        raise KeyError
    left = {mark for mark in marks if not mark.endswith((".thread", ".pool"))}
    assert left <= set(os.listdir(tmp_path))  # noqa: PTH208 - names are wanted
    assert not list(tmp_path.glob("temporary*"))


def _spin():
    while True:
        pass


def test_recycled_processes(tmp_path):
    """Each process that is replaced after its tokens ends like that, while the others go on."""
    marks = set()

    async def main():
        async with OperationsCoordinator(cores=1, max_tokens_per_core=3) as coordinator:
            while coordinator.get_stats()["cores"][0]["recycled"] < 2:
                marks.update(await coordinator.submit(_leave_behind, str(tmp_path)))

    asyncio.run(main())
    assert len(marks) > len(ENDINGS)
    _check(tmp_path, marks)


def _hang_at_exit():
    threading.Event().wait(60)


def test_a_hook_that_hangs_is_named(caplog):
    """The process is killed after `grace`, which is said; before, it says where it hangs."""
    begun = time.monotonic()
    with (
        caplog.at_level(logging.WARNING),
        OperationsCoordinator(cores=1, grace=2) as coordinator,
    ):
        pid = coordinator.submit(os.getpid).get(20)
        coordinator.submit(atexit.register, _hang_at_exit).get(20)
        begun = time.monotonic()
    assert 1.9 < time.monotonic() - begun < 8
    assert f"process {pid} was told to end, and has not within 2 s" in caplog.text
    assert "_hang_at_exit" in caplog.text


def test_what_a_hook_prints_is_heard(capsys):
    """The parent reads on until the process is gone."""
    with OperationsCoordinator(cores=1) as coordinator:
        coordinator.submit(atexit.register, print, "at the end").get(20)
    assert capsys.readouterr().out == "at the end\n"


def _hold_main_thread_until_hook(folder):
    hook_runs, again = threading.Event(), threading.Event()

    def hook():
        with Path(folder, "hooks").open("a", encoding="utf-8") as file:
            file.write("hook\n")
        if hook_runs.is_set():
            again.set()
        hook_runs.set()
        again.wait(0.3)  # in which a second run would begin

    atexit.register(hook)
    Path(folder, "held").touch()
    while not hook_runs.is_set():
        try:
            hook_runs.wait()
        except BaseException:  # noqa: BLE001, S112 - as code does that nothing interrupts
            continue


def test_hooks_run_once_though_the_main_thread_comes_out_meanwhile(tmp_path):
    """While the control thread runs the hooks of a stuck process, the main thread runs none."""
    with pytest.raises(KeyError), OperationsCoordinator(cores=1, grace=5) as coordinator:  # noqa: PT012 - all of the block
        coordinator.submit(_hold_main_thread_until_hook, str(tmp_path))
        while not (tmp_path / "held").exists():
            time.sleep(0.001)
        raise KeyError
    assert (tmp_path / "hooks").read_text(encoding="utf-8") == "hook\n"
