"""The watch over leaks catches each kind of leak, and holds it against the test that left it."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from textwrap import dedent

import pytest

TESTS = Path(__file__).resolve().parent

LEAKING = """
    import asyncio
    import os
    import subprocess
    import sys
    import threading
    from multiprocessing.shared_memory import SharedMemory

    import pytest

    kept = []  # What a test puts here lives on, as if a library had kept it.

    def cat():
        # It ends when its input does, so no later than the process of these tests.
        return subprocess.Popen(["cat"], stdin=subprocess.PIPE)

    def test_thread():
        threading.Thread(target=threading.Event().wait, name="left", daemon=True).start()

    def test_descriptor():
        os.open("/dev/null", os.O_RDONLY)

    def test_event_loop():
        kept.append(asyncio.new_event_loop())

    async def test_in_event_loop():
        os.open("/dev/zero", os.O_RDONLY)

    def test_segment():
        # (It stays mapped, so that no test that runs beside takes it for its own.)
        kept.append(SharedMemory(create=True, size=64))

    def test_child():
        kept.append(cat())

    def test_grandchild():
        child = subprocess.Popen(
            [sys.executable, "-c", "import subprocess; subprocess.run(['cat'])"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        child.stdin.write(b"echo")
        child.stdin.flush()
        child.stdout.read(4)
        kept.append(child)

    def test_zombie():
        child = cat()
        child.stdin.close()
        kept.append(child)

    def test_nothing():
        pass

    @pytest.fixture(scope="module")
    def leaking():
        os.open("/dev/full", os.O_RDONLY)

    def test_module(leaking):
        pass
"""

LEFT = [
    "*::test_thread left behind, 0.2 s after its end:",
    "  thread 'left' (daemon)",
    "*::test_descriptor left behind, 0.2 s after its end:",
    "  file descriptor * -> /dev/null",
    "*::test_event_loop left behind, 0.2 s after its end:",
    "  file descriptor * -> anon_inode:*eventpoll*",
    "*::test_in_event_loop left behind, 0.2 s after its end:",
    "  file descriptor * -> /dev/zero",
    "*::test_segment left behind, 0.2 s after its end:",
    "  shared memory /dev/shm/psm_*",
    "*::test_child left behind, 0.2 s after its end:",
    "  child process * (sleeping): cat",
    "  file descriptor * -> pipe:*",
    "*::test_grandchild left behind, 0.2 s after its end:",
    "  child process * (sleeping): *python*",
    "  child process * (sleeping): cat",
    "*::test_zombie left behind, 0.2 s after its end:",
    "  child process * (zombie): cat",
    "*test_each_leak_fails_its_test_and_is_named.py left behind, 0.2 s after its end:",
    "  file descriptor * -> /dev/full",
]

CLEAN = """
    import asyncio
    import subprocess
    import sys
    import threading
    import time
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from multiprocessing.shared_memory import SharedMemory
    from tempfile import TemporaryFile

    import pytest
    import pytest_asyncio
    from hypothesis import given, strategies

    @pytest_asyncio.fixture
    async def server():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            yield server

    @pytest_asyncio.fixture(loop_scope="module", scope="module")
    async def lock():
        return asyncio.Lock()

    async def test_event_loop_with_a_fixture_and_an_executor_thread(server):
        assert await asyncio.to_thread(server.is_serving)

    async def test_child_of_an_event_loop():
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        assert await child.wait() == 0

    @pytest.mark.asyncio(loop_scope="module")
    async def test_event_loop_of_a_module(lock):
        async with lock:
            pass

    def test_event_loop_of_its_own():
        asyncio.run(asyncio.sleep(0))

    def test_uvloop():
        uvloop = pytest.importorskip("uvloop")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.sleep(0))

    def test_child():
        subprocess.run([sys.executable, "-c", ""], check=True)

    @pytest.mark.parametrize("method", ["spawn", "forkserver"])
    def test_process_pool(method):
        with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
            assert pool.submit(abs, -1).result() == 1

    def test_segment():
        segment = SharedMemory(create=True, size=64)
        segment.close()
        segment.unlink()

    def test_captured_output_and_file(capfd, tmp_path):
        with TemporaryFile():
            print("out")

    def test_thread_that_ends_a_moment_later():
        threading.Thread(target=time.sleep, args=(0.05,)).start()

    @given(strategies.integers())
    def test_property(number):
        assert number + 0 == number
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a module under the watch in a process of its own, which takes its leaks along."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))

    def run(code):
        return pytester.runpytest_subprocess(
            f"--config-file={TESTS.parent / 'pyproject.toml'}",
            f"--rootdir={pytester.path}",
            "--override-ini=leak_settle=0.2",
            "-pleaks",
            "-pno:cacheprovider",
            pytester.makepyfile(dedent(code)),
        )

    return run


def test_each_leak_fails_its_test_and_is_named(run):
    """A thread, descriptor, process or segment fails the test that leaves it, or its module."""
    result = run(LEAKING)
    tests = LEAKING.count("def test_")
    result.assert_outcomes(passed=tests, errors=tests - len(["test_nothing"]))
    result.stdout.fnmatch_lines(LEFT)


def test_what_is_cleaned_up_is_no_leak(run):
    """Event loops, executors, processes, segments and Hypothesis leave nothing behind."""
    result = run(CLEAN)
    result.assert_outcomes(passed=CLEAN.count("def test_") + len(["forkserver"]))


BESIDE = """
    from multiprocessing.shared_memory import SharedMemory

    import leaks

    def test_beside():
        segment = SharedMemory(create=True, size=64)
        own, other = f"/dev/shm/{segment.name}", "/dev/shm/OTHER"
        try:
            assert leaks._of_others({own, other}) == {other}
            segment.close()
            assert leaks._of_others({own}) == set()
        finally:
            segment.unlink()
"""


def test_what_a_process_beside_uses_is_no_leak(run):
    """A segment is that of the process which has it mapped or open."""
    segment = SharedMemory(create=True, size=64)
    try:
        run(BESIDE.replace("OTHER", segment.name)).assert_outcomes(passed=1)
    finally:
        segment.close()
        segment.unlink()
