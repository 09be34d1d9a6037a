"""The parent dies, is interrupted, or forks: no core process is left, and none dies for nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import contextmanager

import pytest
import scripts

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfds")


@contextmanager
def started(path, code, **options):
    """A script in a process group of its own, and the line that it prints once it is busy."""
    process = subprocess.Popen(
        scripts.command(path, code),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env=scripts.environment(options),
    )
    try:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, line.split()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def watched(pids):
    """Pidfds of processes that live now."""
    pidfds = [os.pidfd_open(int(pid)) for pid in pids]
    try:
        yield pidfds
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


# The second core holds the GIL in C code: no thread of it can run Python.
BUSY = """
    import asyncio
    import signal
    import work
    from gates import Gate
    from tokengate_mp import OperationsCoordinator

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored

    async def main():
        with Gate() as gate:
            async with OperationsCoordinator(cores=2, threads_per_core=1, grace=0.2) as coordinator:
                held = [work.gated(gate.address), work.hold_the_gil(gate.address)]
                await asyncio.to_thread(gate.arrivals, 2)
                print(*(core["pid"] for core in coordinator.get_stats()["cores"]), flush=True)
                await asyncio.gather(*held)

    asyncio.run(main())
"""


@pytest.mark.parametrize("portable", ["0", "1"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_core_processes_do_not_outlive_their_parent(tmp_path, how, portable):
    """However the parent is ended, all its core processes are gone, those stuck in C code too."""
    with started(tmp_path / "busy.py", BUSY, TOKENGATE_MP_PORTABLE=portable) as (process, pids):
        assert len(pids) == 2
        with watched(pids) as pidfds:
            process.send_signal(how)
            assert process.wait(20) == -how
            assert scripts.all_gone(pidfds)


def test_ctrl_c(tmp_path):
    """Ctrl-C is one KeyboardInterrupt in the parent: no traceback of a core, no process left."""
    with started(tmp_path / "busy.py", BUSY) as (process, pids), watched(pids) as pidfds:
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode in {-signal.SIGINT, 130, 1}
        assert said.rstrip().endswith("KeyboardInterrupt")
        assert len(re.findall(r"^KeyboardInterrupt", said, re.MULTILINE)) == 1
        assert "worker/" not in said
        assert scripts.all_gone(pidfds)


def test_ctrl_c_again_and_again(tmp_path):
    """Impatience cuts the end short, and still leaves no process."""
    with started(tmp_path / "busy.py", BUSY) as (process, pids), watched(pids) as pidfds:
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        assert "worker/" not in process.stderr.read()
        assert scripts.all_gone(pidfds)


def test_ctrl_c_in_a_plain_script(tmp_path):
    """The same where the main thread waits in get()."""
    code = """
        import work
        from gates import Gate
        from tokengate_mp import OperationsCoordinator

        with Gate() as gate, OperationsCoordinator(cores=2) as coordinator:
            token = work.gated(gate.address)
            gate.arrivals()
            print(*(core["pid"] for core in coordinator.get_stats()["cores"]), flush=True)
            token.get()
    """
    with started(tmp_path / "plain.py", code) as (process, pids), watched(pids) as pidfds:
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert said.rstrip().endswith("KeyboardInterrupt")
        assert len(re.findall(r"^KeyboardInterrupt", said, re.MULTILINE)) == 1
        assert scripts.all_gone(pidfds)


def test_ctrl_c_that_the_script_handles(tmp_path):
    """A script that catches the interrupt goes on with its core processes as before."""
    code = """
        import os
        import signal
        import work
        from gates import Gate
        from tokengate_mp import OperationsCoordinator

        with Gate() as gate, OperationsCoordinator(cores=1) as coordinator:
            token = work.gated(gate.address, "kept")
            gate.arrivals()
            try:
                print("ready", flush=True)
                token.get()
            except KeyboardInterrupt:
                gate.open()
            print(token.get(), coordinator.get_stats()["cores"][0]["restarts"])
    """
    with started(tmp_path / "handles.py", code) as (process, _):
        os.killpg(process.pid, signal.SIGINT)
        said, complained = process.communicate(timeout=30)
        assert (said, complained, process.returncode) == ("kept 0\n", "", 0)


FORK = """
    import os
    import sys
    import warnings
    import work
    from gates import Gate
    from tokengate_mp import CoordinatorNotRunning, OperationsCoordinator

    warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, from 3.12 on
    forked = 0

    def wait():
        _, status = os.waitpid(forked, 0)
        print(os.waitstatus_to_exitcode(status))

    with Gate() as gate:
        with OperationsCoordinator(cores=2) as coordinator:
            token = work.gated(gate.address, "parent")
            gate.arrivals()
            forked = os.fork()
            if not forked:
                try:
                    work.square(3)
                except CoordinatorNotRunning:
                    CHILD
            else:
                wait()
                gate.open()
                print(token.get(), work.square(9).get())
                print(sum(core["restarts"] for core in coordinator.get_stats()["cores"]))
    sys.stdout.flush()
    os._exit(0 if forked else 7)
"""


@pytest.mark.parametrize(
    "child",
    [
        "os._exit(7)",
        "sys.exit(7)",
        "pass",
        "coordinator.stop(); os._exit(7)",
        "os.kill(os.getpid(), 9)",
    ],
)
def test_a_fork_leaves_the_parents_coordinator_alone(tmp_path, child):
    """However a forked child ends, the parent's cores and tokens are as before."""
    done = scripts.run(scripts.command(tmp_path / "forks.py", FORK.replace("CHILD", child)))
    expected = "-9" if "kill" in child else "7"
    assert done.stdout.split() == [expected, "parent", "81", "0"], done.stderr


@pytest.mark.parametrize("use", ["token.get(1)", "coordinator.get_stats()", "token.kill('x')"])
def test_a_fork_is_told_that_the_coordinator_is_not_its_own(tmp_path, use):
    """In a forked child what belongs to the parent raises at once, instead of waiting for ever."""
    child = f"""
                    try:
                        {use}
                    except CoordinatorNotRunning:
                        os._exit(7)
                    os._exit(1)"""
    done = scripts.run(scripts.command(tmp_path / "forks.py", FORK.replace("CHILD", child)))
    assert done.stdout.split() == ["7", "parent", "81", "0"], done.stderr


def test_a_fork_may_start_a_coordinator_of_its_own(tmp_path):
    """Parent and child each have one, and each its own results."""
    code = """
        import os
        import warnings
        import work
        from tokengate_mp import OperationsCoordinator

        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, from 3.12 on
        with OperationsCoordinator(cores=1) as coordinator:
            assert work.square(2).get(20) == 4
            pid = os.fork()
            if not pid:
                try:
                    with OperationsCoordinator(cores=1):
                        assert work.square(5).get(20) == 25
                    os._exit(7)
                finally:
                    os._exit(1)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status))
            print(work.square(6).get(20), coordinator.get_stats()["cores"][0]["restarts"])
    """
    done = scripts.run(scripts.command(tmp_path / "forks.py", code))
    assert done.stdout.split() == ["7", "36", "0"], done.stderr


def test_a_fork_that_outlives_its_parent_keeps_no_core_alive(tmp_path):
    """A child that lives on does not hold what ties core processes to their parent."""
    code = """
        import os
        import signal
        import warnings
        import work
        from tokengate_mp import OperationsCoordinator

        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, from 3.12 on
        coordinator = OperationsCoordinator(cores=1).start()
        assert work.square(2).get(20) == 4
        forked = os.fork()
        if not forked:
            signal.pause()
            os._exit(0)
        print(coordinator.get_stats()["cores"][0]["pid"], forked, flush=True)
        signal.pause()
    """
    with started(tmp_path / "forks.py", code) as (process, (core, forked)):
        try:
            with watched([core]) as pidfds:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(20)
                assert scripts.all_gone(pidfds)
        finally:
            os.kill(int(forked), signal.SIGKILL)
