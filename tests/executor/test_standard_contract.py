"""CPython's own tests of executors, run against this one.

They come with Python 3.13's `test` package, which not every distribution installs. What is left out
is listed below, each test with its reason; what builds on the name of a standard class, or on its
private attributes, is written anew at the end.
"""

from __future__ import annotations

import concurrent.futures
import gc
import importlib
import os
import subprocess
import sys
import unittest
from typing import Any

import pytest

from tokengate_mp import InitializerFailed, TokenGateExecutor, WorkerLost

PACKAGE = "test.test_concurrent_futures"

try:
    if sys.version_info < (3, 13):
        raise ImportError("they are those of Python 3.13 and later")  # noqa: TRY301 - one reason
    _executor = importlib.import_module(f"{PACKAGE}.executor")
    _pool = importlib.import_module(f"{PACKAGE}.test_process_pool")
    _wait = importlib.import_module(f"{PACKAGE}.test_wait")
    _completed = importlib.import_module(f"{PACKAGE}.test_as_completed")
    _init = importlib.import_module(f"{PACKAGE}.test_init")
    _shutdown = importlib.import_module(f"{PACKAGE}.test_shutdown")
    _deadlock = importlib.import_module(f"{PACKAGE}.test_deadlock")
    _util = importlib.import_module(f"{PACKAGE}.util")
except (ImportError, unittest.SkipTest) as error:
    pytest.skip(f"CPython's tests are not here: {error}", allow_module_level=True)

NOT_APPLICABLE = {
    # They look into the standard pool.
    "test_killed_child": "kills one of `_processes`; written anew below, as it does not break here",
    "test_traceback": "wants the class `_RemoteTraceback`; ours is RemoteTraceback",
    "test_saturation": "counts `_processes`",
    "test_max_tasks_per_child": "counts `_processes`; written anew below",
    "test_max_tasks_per_child_defaults_to_spawn_context": "wants `_mp_context`; there is none",
    "test_idle_process_reuse_one": "counts `_processes`",
    "test_idle_process_reuse_multiple": "counts `_processes`",
    "test_processes_terminate": "counts `_processes`",
    "test_context_manager_shutdown": "joins `_processes`; written anew below",
    "test_del_shutdown": "joins `_executor_manager_thread`; written anew below",
    "test_shutdown_no_wait": "joins `_executor_manager_thread`; written anew below",
    "test_shutdown_deadlock_pickle": "joins `_executor_manager_thread`",
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": "replaces `_ThreadWakeup`",
    "test_python_finalization_error": "replaces the start of the standard pool's second thread",
    # They build on the name of the class, in `from concurrent.futures import …`.
    "test_interpreter_shutdown": "imports the class from concurrent.futures; written anew below",
    "test_submit_after_interpreter_shutdown": "the same",
    "test_hang_gh83386": "the same",
    # Where we differ on purpose.
    "test_cancel_futures": "before the processes are up nothing was sent, so all are cancelled",
    "test_exit_at_task_unpickle": "an argument that exits fails its call, and not the process",
    "test_error_at_task_unpickle": "an argument that does not unpickle fails its call alone",
    "test_exit_during_func_exec_on_worker": "SystemExit arrives as RemoteError",
    "test_exit_during_result_pickle_on_worker": "SystemExit arrives as the cause of PayloadError",
    "test_error_during_result_unpickle_in_result_handler": "it fails its call alone: PayloadError",
    "test_exit_during_result_unpickle_in_result_handler": "it fails its call alone: PayloadError",
    "test_max_workers_too_large": "Windows only",
}
"""The tests that are not run, and why."""

_LATER = {
    "test_broken_process_pool_traceback": "kills one of `_processes`",
    "test_shutdown_no_wait_max_tasks_gh119592": "joins `_executor_manager_thread`",
    "test_gc_during_max_tasks_worker_exit_gh152967": "joins `_executor_manager_thread`",
    "test_force_shutdown_during_max_tasks_worker_exit": "joins `_executor_manager_thread`",
    "test_failed_worker_replacement_breaks_pool": "replaces `_spawn_worker`",
    "test_terminate_workers": "replaces `_force_shutdown`; see test_ending_workers",
    "test_kill_workers": "replaces `_force_shutdown`; see test_ending_workers",
    "test_force_shutdown_workers_invalid_op": "calls `_force_shutdown`",
    "test_force_shutdown_workers": "looks into `_processes`; see test_ending_workers",
    "test_force_shutdown_workers_stops_pool": "looks into `_processes`; see test_ending_workers",
}
"""Further such tests, which Python 3.14 and 3.15 have brought."""

NOT_APPLICABLE |= {
    name: why
    for name, why in _LATER.items()
    if hasattr(_pool.ProcessPoolExecutorTest, name)  # it is there in this version
}

if sys.version_info >= (3, 15):
    NOT_APPLICABLE["test_traceback_when_child_process_terminates_abruptly"] = (
        "wants a `_RemoteTraceback` as the cause; WorkerLost itself says how the process ended"
    )


class _OurExecutor:
    """Takes the place of the mixin that makes a standard executor."""

    executor_type = TokenGateExecutor
    ctx = "spawn"


def _adapted(name: str, *bases: type) -> type:
    """A test case of CPython's classes, without the tests that do not apply."""
    mixin = type("_Mixin", (_OurExecutor, _util.ProcessPoolSpawnMixin), {})
    left_out = {test: None for test in NOT_APPLICABLE if any(hasattr(base, test) for base in bases)}
    members: dict[str, Any] = {**left_out, "__module__": __name__}
    return type(name, (*bases, mixin, _util.BaseTestCase), members)


TestExecutor = _adapted("TestExecutor", _pool.ProcessPoolExecutorTest)
TestWait = _adapted("TestWait", _wait.WaitTests)
TestAsCompleted = _adapted("TestAsCompleted", _completed.AsCompletedTests)
TestShutdown = _adapted("TestShutdown", _shutdown.ProcessPoolShutdownTest)
TestDeadlock = _adapted("TestDeadlock", _deadlock.ExecutorDeadlockTest)


class TestInitializer(_OurExecutor, _init.InitializerMixin, _util.BaseTestCase):
    """The tests of `initializer`."""

    def get_context(self):
        """Give the start method that core processes resemble."""
        import multiprocessing

        return multiprocessing.get_context(self.ctx)


def test_every_test_left_out_is_one():
    """The table names tests that exist, and so none that was renamed or taken away."""
    ours = (TestExecutor, TestWait, TestAsCompleted, TestShutdown, TestDeadlock)
    inherited = {name for case in ours for base in case.__mro__[1:] for name in vars(base)}
    assert set(NOT_APPLICABLE) <= inherited


# ---- written anew


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )


def test_interpreter_shutdown():
    """What was submitted is run before the interpreter ends, without shutdown()."""
    done = _python(
        "from time import sleep\n"
        "from tokengate_mp import TokenGateExecutor\n"
        "executor = TokenGateExecutor(2)\n"
        "executor.submit(sleep, 0.5).add_done_callback(lambda _: print('apple'))\n"
    )
    assert (done.stdout, done.stderr) == ("apple\n", "")


def test_shutdown_without_waiting_at_interpreter_shutdown():
    """The same after shutdown(wait=False)."""
    done = _python(
        "from time import sleep\n"
        "from tokengate_mp import TokenGateExecutor\n"
        "executor = TokenGateExecutor(2)\n"
        "executor.submit(sleep, 0.5).add_done_callback(lambda _: print('apple'))\n"
        "executor.shutdown(wait=False)\n"
    )
    assert (done.stdout, done.stderr) == ("apple\n", "")


def test_submit_after_interpreter_shutdown():
    """It is refused, as by a standard executor."""
    done = _python(
        "import atexit\n"
        "@atexit.register\n"
        "def run_last():\n"
        "    try:\n"
        "        executor.submit(id, None)\n"
        "    except RuntimeError as error:\n"
        "        print(error)\n"
        "from tokengate_mp import TokenGateExecutor\n"
        "executor = TokenGateExecutor(2)\n"
        "executor.submit(id, 42).result()\n"
    )
    assert "cannot schedule new futures" in done.stdout
    assert done.stderr == ""


def test_context_manager_shutdown():
    """At the end of the block every process has ended, which the leak fixture sees."""
    with TokenGateExecutor(5) as executor:
        assert list(executor.map(abs, range(-5, 5))) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


def test_del_shutdown():
    """A map goes on when its executor is forgotten."""
    executor = TokenGateExecutor(5)
    results = executor.map(abs, range(-5, 5))
    del executor
    gc.collect()
    assert list(results) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


def test_shutdown_no_wait():
    """And when it is shut down meanwhile."""
    executor = TokenGateExecutor(5)
    results = executor.map(abs, range(-5, 5))
    executor.shutdown(wait=False)
    assert list(results) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


def test_killed_child():
    """The call that was running raises a BrokenProcessPool; the next one is run."""
    with TokenGateExecutor(1) as executor:
        lost = executor.submit(os.abort)
        assert isinstance(lost.exception(20), concurrent.futures.process.BrokenProcessPool)
        assert isinstance(lost.exception(), WorkerLost)
        assert executor.submit(pow, 2, 8).result(20) == 256


def test_max_tasks_per_child():
    """A worker is reused until it has run as many calls as it may, and then there is a new one."""
    with TokenGateExecutor(1, max_tasks_per_child=3) as executor:
        first, second, third, fourth = [executor.submit(os.getpid).result(20) for _ in range(4)]
    assert first == second == third != fourth


def test_failing_initializer():
    """Every call raises a BrokenExecutor."""
    with TokenGateExecutor(2, initializer=divmod, initargs=(1, 0)) as executor:
        future = executor.submit(pow, 2, 8)
        assert isinstance(future.exception(20), concurrent.futures.BrokenExecutor)
        assert isinstance(future.exception(), InitializerFailed)
