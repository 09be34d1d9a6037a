"""Notebooks: cells in a real kernel of Jupyter."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import scripts

pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytest.importorskip("jupyter_client", reason="jupyter_client is not installed")

pytestmark = pytest.mark.timeout(120)  # a kernel takes seconds to start on a busy machine

_DRIVER = Path(__file__).with_name("notebook_driver.py")

_START = """
    import asyncio, logging, os, sys, threading
    import gates, tokengate_mp
    from tokengate_mp import OperationsCoordinator, TokenGateExecutor, task_token_guard
    logging.basicConfig(stream=sys.stdout, format="log %(message)s", force=True)

    coordinator = OperationsCoordinator(cores=2).start()

    @task_token_guard()
    def say(n):
        print("says", n)
        logging.getLogger("mine").warning("of %s", n)
        return n
"""


def run(*cells, end="shutdown"):
    """Run cells in a new kernel; what each shows, all text of a stream in one."""
    job = {
        "cells": [
            {**cell, "code": dedent(cell["code"])}
            for cell in ({"code": each} if isinstance(each, str) else each for each in cells)
        ],
        "end": end,
    }
    done = scripts.run([sys.executable, str(_DRIVER)], stdin=json.dumps(job), patience=90)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["left"] == []
    shown = []
    for cell in said["shown"]:
        streams = {}
        for kind, text in cell:
            streams[kind] = streams.get(kind, "") + text
        shown.append(streams)
    return shown, said["started"]


def test_a_cell_shows_what_its_calls_print_and_log():
    """Whichever cell has started the coordinator, the executor or the processes for joblib."""
    shown, _ = run(
        _START,
        "assert await say(1) == 1",
        "print('here'); await asyncio.gather(say(2), coordinator.submit(print, 'plain'))",
        "executor = TokenGateExecutor(1); executor.submit(print, 'first').result()",
        "executor.submit(print, 'second').result()",
        "list(executor.map(print, ['mapped']))",
        """
        import joblib
        tokengate_mp.register_joblib_backend()
        parallel = joblib.Parallel(2, backend="tokengate")
        parallel([joblib.delayed(print)("job one")] * 2);
        """,
        "parallel([joblib.delayed(print)('job two')] * 2);",
    )
    assert shown[:2] == [{}, {"stdout": "says 1\nlog of 1\n"}]
    here, *others = shown[2]["stdout"].splitlines()
    assert (here, sorted(others)) == ("here", ["log of 2", "plain", "says 2"])
    assert [cell["stdout"] for cell in shown[3:]] == [
        "first\n",
        "second\n",
        "mapped\n",
        "job one\n" * 2,
        "job two\n" * 2,
    ]


def test_output_goes_to_the_cell_that_runs():
    """A call that outlives its cell speaks in the one that runs then, or in the latest."""
    shown, _ = run(
        _START,
        """
        gate = gates.Gate()
        def wait_and_print(address):
            gates.wait_at(address)
            print("late")
        token = coordinator.submit(wait_and_print, gate.address)
        await asyncio.to_thread(gate.arrivals, 1)
        """,
        "gate.open(); await token",
        """
        gate.close()
        gate = gates.Gate()
        token = coordinator.submit(wait_and_print, gate.address)
        """,
        {
            "code": "threading.Thread(target=lambda: gate.arrivals(1) and gate.open()).start()",
            "until": "late",
        },
        "gate.close()",
    )
    assert [cell.get("stdout") for cell in shown] == [None, None, "late\n", None, "late\n", None]


def test_progress_and_callbacks_show_in_their_cell():
    """They are told in the cell's own thread and context."""
    shown, _ = run(
        _START,
        """
        class Bar:
            def start(self, total): print("of", total)
            def advance(self, count, failed): pass
            def finish(self): print("done")
        """,
        "await coordinator.map(abs, range(3), progress=Bar())",
        "token = say(1); token.add_done_callback(lambda _: print('called')); await token;",
    )
    assert shown[2] == {"stdout": "of 3\ndone\n"}
    assert sorted(shown[3]["stdout"].splitlines()) == ["called", "log of 1", "says 1"]


def test_a_coordinator_in_a_thread_of_its_own():
    """Started where no loop runs, the coordinator speaks in the cell that runs all the same."""
    shown, _ = run(
        _START + "    coordinator.stop()\n",
        """
        def start():
            global coordinator
            coordinator = OperationsCoordinator(cores=1).start()
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        """,
        "await say(1)",
        "await say(2)",
    )
    assert shown[2:] == [{"stdout": f"says {n}\nlog of {n}\n"} for n in (1, 2)]


def test_what_the_coordinator_logs_shows_in_the_cell_that_runs():
    """A core process that dies is spoken of where that happens, not where it was started."""
    shown, _ = run(
        _START,
        "await say(1)",
        {
            "code": """
            import signal
            os.kill(coordinator.get_stats()["cores"][0]["pid"], signal.SIGKILL)
            while not coordinator.get_stats()["cores"][0]["restarts"]:
                await asyncio.sleep(0.01)
            """,
            "until": "ended with -9",
        },
    )
    assert shown[0] == {}
    assert "core 1: process" in shown[2]["stdout"]


def test_an_interrupted_cell_ends_and_the_next_works():
    """The cell's token is ended, as the cell awaits it, and everything can be used on."""
    hold = """
        def hold(address):
            import time
            gates.report_to(address)
            while True: time.sleep(0.01)
        gate = gates.Gate()
    """
    shown, _ = run(
        _START,
        hold,
        {
            "code": """
            token = coordinator.submit(hold, gate.address)
            await asyncio.to_thread(gate.arrivals, 1)
            print("runs", flush=True)
            await token
            """,
            "interrupt_at": "runs",
        },
        "print(token.state.name); await say(1);",
        {
            "code": """
            executor = TokenGateExecutor(1)
            future = executor.submit(hold, gate.address)
            gate.arrivals(1)
            print("runs", flush=True)
            future.result()
            """,
            "interrupt_at": "runs",
        },
        "future.kill('not wanted'); executor.submit(print, 'on').result(); gate.close()",
    )
    assert shown[2]["error"].startswith("CancelledError")
    assert shown[3]["stdout"] == "KILLED\nsays 1\nlog of 1\n"
    assert shown[4]["error"].startswith("KeyboardInterrupt")
    assert shown[5] == {"stdout": "on\n"}


def test_cells_are_run_again_and_edited():
    """A function defined anew is called as it is now, and the first cell may run again."""
    shown, _ = run(
        _START,
        "def scaled(n): return n",
        "print(await coordinator.submit(scaled, 5))",
        "def scaled(n): return 100 * n",
        "print(await coordinator.submit(scaled, 5))",
        _START.replace("coordinator =", "coordinator.stop()\n    coordinator ="),
        "await say(1)",
    )
    assert [shown[n].get("stdout") for n in (2, 4, 6)] == ["5\n", "500\n", "says 1\nlog of 1\n"]
    assert shown[5] == {}


@pytest.mark.parametrize("end", ["shutdown", "kill", "restart"])
def test_a_kernel_that_ends_leaves_no_process(end):
    """However the kernel ends, and whatever its core processes do just then."""
    _, started = run(
        _START,
        "import time; tokens = [coordinator.submit(time.sleep, 60) for _ in range(2)]",
        "executor = TokenGateExecutor(1); executor.submit(abs, 1).result()",
        end=end,
    )
    assert started >= 3
