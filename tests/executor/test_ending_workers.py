"""`terminate_workers` and `kill_workers`: an executor is ended while its calls run."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
import time

import pytest
import scripts
import work

from tokengate_mp import TokenGateExecutor, WorkerLost

ENDINGS = {"terminate_workers": signal.SIGTERM, "kill_workers": signal.SIGKILL}


@pytest.fixture(params=ENDINGS)
def ending(request):
    """The name of a method that ends the processes."""
    return request.param


def hold(path):
    """Write the process's number, and run for ever."""
    path.write_text(f"{os.getpid()}\n", "utf-8")
    while True:
        time.sleep(0.01)


def begun(path):
    """Wait until `hold` runs; its pid."""
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text("utf-8").endswith("\n")):
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
    return int(path.read_text("utf-8"))


def test_calls_that_run_are_lost_and_others_cancelled(tmp_path, ending):
    """The calls end at once: as lost with their process, or as never begun."""
    with TokenGateExecutor(1) as executor:
        running = executor.submit(hold, tmp_path / "pid")
        pid = begun(tmp_path / "pid")
        pidfd = os.pidfd_open(pid)
        waiting = [executor.submit(work.echo.__wrapped__, n) for n in range(2000)]
        getattr(executor, ending)()
        with pytest.raises(WorkerLost, match=ending) as lost:
            running.result(20)
        assert (lost.value.pid, lost.value.signal) == (pid, ENDINGS[ending])
        assert scripts.all_gone([pidfd])
        os.close(pidfd)
        concurrent.futures.wait(waiting, 20)
        assert waiting[-1].cancelled()
        for future in waiting:
            assert future.cancelled() or isinstance(future.exception(), WorkerLost)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(abs, -1)


def test_a_map_ends(ending):
    """Whoever goes through the results of a map gets an error, and does not wait for ever."""
    with TokenGateExecutor(1) as executor:
        results = executor.map(time.sleep, [0, *[30] * 50], chunksize=1)
        next(results)
        getattr(executor, ending)()
        with pytest.raises((WorkerLost, concurrent.futures.CancelledError)):
            list(results)


def test_nothing_is_started_for_it(ending):
    """An executor that was not used, or has ended, is shut down."""
    executor = TokenGateExecutor(1)
    getattr(executor, ending)()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -1)
    with TokenGateExecutor(1) as executor:
        assert executor.submit(abs, -1).result(20) == 1
    getattr(executor, ending)()
    getattr(executor, ending)()


def test_after_a_shutdown_that_does_not_wait(tmp_path, ending):
    """An executor that is ending, and waits for a call that never ends, ends."""
    executor = TokenGateExecutor(1)
    running = executor.submit(hold, tmp_path / "pid")
    begun(tmp_path / "pid")
    executor.shutdown(wait=False)
    getattr(executor, ending)()
    assert isinstance(running.exception(20), WorkerLost)
    executor.shutdown()


def ignore_sigterm(path):
    """Run for ever, whatever SIGTERM says."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hold(path)


def test_a_process_that_heeds_no_sigterm_is_killed(tmp_path):
    """After `grace` it is gone."""
    executor = TokenGateExecutor(1, grace=0.1)
    executor.submit(ignore_sigterm, tmp_path / "pid")
    pidfd = os.pidfd_open(begun(tmp_path / "pid"))
    executor.terminate_workers()
    assert scripts.all_gone([pidfd])
    os.close(pidfd)
    executor.shutdown()


def test_in_a_callback(tmp_path, ending):
    """It may be called in the thread of the executor itself."""
    with TokenGateExecutor(2) as executor:
        running = executor.submit(hold, tmp_path / "pid")
        begun(tmp_path / "pid")
        first = executor.submit(abs, -1)
        first.add_done_callback(lambda _: getattr(executor, ending)())
        assert isinstance(running.exception(20), WorkerLost)
