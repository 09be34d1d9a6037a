"""Commands that calls start: their signals, and their end."""

from __future__ import annotations

import multiprocessing
import os
import pty
import select
import signal
import subprocess
import sys
import time

import psutil
import pytest
import scripts

from tokengate_mp import OperationsCoordinator, TokenKilled, TokenTimeout, task_token_guard

_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def _signals() -> list[str]:
    """Give the masks of ignored and blocked signals that a command begins with."""
    status = subprocess.run(
        ["cat", "/proc/self/status"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [line for line in status.splitlines() if line.startswith(("SigIgn", "SigBlk"))]


def _signals_of_a_fork() -> str:
    """Give the handler of SIGINT in a forked worker."""
    context = multiprocessing.get_context("fork")
    near, far = context.Pipe()
    process = context.Process(target=_send_handler, args=(far,))
    process.start()
    name = near.recv()
    process.join()
    return name


def _send_handler(far):
    far.send(str(signal.getsignal(signal.SIGINT)))


@_LINUX
def test_they_begin_with_the_signals_of_the_parent():
    """Nothing is ignored or blocked in them that is not in those that the parent starts."""
    with OperationsCoordinator(cores=1) as coordinator:
        assert coordinator.submit(_signals).get(20) == _signals()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_ctrl_c_ends_a_fork():
    """A forked process begins with Python's own handler."""
    with OperationsCoordinator(cores=1) as coordinator:
        said = coordinator.submit(_signals_of_a_fork).get(20)
    assert "default_int_handler" in said


@task_token_guard()
def run_command(seconds: str, pids: str) -> int:
    """Run a shell that runs a command, and note both."""
    shell = f"echo $$ >> {pids}; sleep {seconds} & echo $! >> {pids}; wait"
    return subprocess.run(["/bin/sh", "-c", shell], check=False).returncode


def _running(path, count: int) -> list[psutil.Process]:
    """The processes that a file names, once it names so many."""
    deadline = time.monotonic() + 20
    while True:
        numbers = path.read_text().split() if path.exists() else []
        if len(numbers) >= count:
            return [psutil.Process(int(number)) for number in numbers]
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("how", ["kill", "timeout", "stop"])
def test_they_end_with_the_process_of_their_call(tmp_path, how):
    """Children and their children, when the call is killed, timed out or stopped."""
    pids = tmp_path / "pids"
    call = run_command.options(timeout=5) if how == "timeout" else run_command
    with OperationsCoordinator(cores=1, grace=0.2) as coordinator:
        coordinator.submit(abs, 1).get(20)  # the process is up
        token = call("300", str(pids))
        commands = _running(pids, 2)
        if how == "kill":
            token.kill("enough")
        elif how == "stop":
            coordinator.stop()
        with pytest.raises((TokenKilled, TokenTimeout)):
            token.get(20)
        gone, alive = psutil.wait_procs(commands, timeout=20)
    assert (len(gone), alive) == (2, [])


def _start_daemon() -> int:
    # It is the caller's to end.
    return subprocess.Popen(["sleep", "300"], start_new_session=True).pid


def test_what_has_a_session_of_its_own_is_left_alone(tmp_path):
    """A daemon outlives the process that started it, however that ends."""
    pids = tmp_path / "pids"
    with OperationsCoordinator(cores=1, grace=0.2) as coordinator:
        daemon = psutil.Process(coordinator.submit(_start_daemon).get(20))
        token = run_command("300", str(pids))
        commands = _running(pids, 2)
        token.kill("enough")
        psutil.wait_procs(commands, timeout=20)
    assert daemon.is_running()
    daemon.kill()


_PROGRAM = """
    import subprocess, sys
    from tokengate_mp import OperationsCoordinator, TokenGateExecutor

    def command(): return subprocess.run(["sleep", "300"]).returncode

    if sys.argv[1] == "executor":
        with TokenGateExecutor(2) as executor:
            executor.submit(abs, 1).result()
            futures = [executor.submit(command) for _ in range(2)]
            print("up", flush=True)
            print([future.result() for future in futures])
    else:
        with OperationsCoordinator(cores=2) as coordinator:
            tokens = [coordinator.submit(command) for _ in range(2)]
            print("up", flush=True)
            print([token.get() for token in tokens])
"""


@pytest.mark.parametrize("kind", ["executor", "coordinator"])
def test_ctrl_c_in_a_terminal_ends_them_and_the_program(tmp_path, kind):
    """It reaches the process group: the commands end, and so the program does not wait for them."""
    process = subprocess.Popen(
        [*scripts.command(tmp_path / "program.py", _PROGRAM), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        env=scripts.environment(),
    )
    try:
        assert process.stdout.readline() == "up\n"
        program = psutil.Process(process.pid)
        deadline = time.monotonic() + 20
        commands = []
        while len(commands) < 2:
            assert time.monotonic() < deadline
            every = program.children(recursive=True)
            commands = [each for each in every if each.name() == "sleep"]
        os.killpg(process.pid, signal.SIGINT)
        _said, complained = process.communicate(timeout=15)
    finally:
        process.kill()
        process.communicate()
    assert "KeyboardInterrupt" in complained
    _gone, alive = psutil.wait_procs(commands, timeout=10)
    assert alive == []


_ASKING = """
    import getpass, subprocess, sys
    from tokengate_mp import TokenGateExecutor

    def ask(): return getpass.getpass("PIN: ")

    def change():
        command = "stty -echo < /dev/tty; stty echo < /dev/tty"
        return subprocess.run(command, shell=True).returncode

    with TokenGateExecutor(1) as executor:
        print("ready")
        print("ended", executor.submit(globals()[sys.argv[1]]).result(timeout=10))
"""


@pytest.mark.parametrize(("what", "answer"), [("ask", b"ended 77"), ("change", b"ended 0")])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_function_may_use_the_terminal(tmp_path, what, answer):
    """As a worker of a pool may: its process is in the foreground with the program, not stopped."""
    command = [*scripts.command(tmp_path / "asks.py", _ASKING), what]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, command, scripts.environment())  # noqa: S606 - no shell between
    said = b""
    try:
        while answer not in said and select.select([terminal], [], [], 20)[0]:
            try:
                said += os.read(terminal, 1 << 12)
            except OSError:  # the program has ended
                break
            if said.endswith(b"PIN: "):
                os.write(terminal, b"77\n")
    finally:
        os.waitpid(pid, 0)
        os.close(terminal)
    assert answer in said, said
