"""What tokens of the tests do. Core processes import it, so it is light: no test framework.

Thousands of them do, and each module that they load for nothing costs a minute of all tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from tokengate_mp import task_token_guard

if TYPE_CHECKING:
    from collections.abc import Callable

    import gates


@task_token_guard(operation_type="echo")
def echo(value: Any) -> Any:
    """Give back what is given."""
    return value


@task_token_guard(operation_type="square")
def square(number: int) -> int:
    """Give the square."""
    return number * number


@task_token_guard(operation_type="nap")
def nap(seconds: float) -> float:
    """Sleep, as work."""
    time.sleep(seconds)
    return seconds


@task_token_guard(operation_type="spin")
def spin(seconds: float) -> int:
    """Compute until so much CPU time of this thread is used."""
    until = time.thread_time() + seconds
    turns = 0
    while time.thread_time() < until:
        turns += 1
    return turns


@task_token_guard(operation_type="gated")
def gated(address: gates.Address, name: str = "") -> str:
    """Wait at a gate, off the CPU."""
    import gates

    return gates.wait_at(address, name)


@task_token_guard(operation_type="spinning")
def spinning(address: gates.Address, name: str = "") -> str:
    """Wait at a gate, computing."""
    import gates

    return gates.spin_at(address, name)


@task_token_guard(operation_type="where")
def where() -> tuple[int, int]:
    """Give the process and the thread that this runs in."""
    return os.getpid(), threading.get_native_id()


@task_token_guard(operation_type="die")
def die(how: int | signal.Signals) -> None:
    """End the core process: by a signal, or with an exit code."""
    sys.stderr.flush()
    if isinstance(how, signal.Signals):
        if how is signal.SIGSEGV:
            # A child of a crash does not write a core file as large as its memory.
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), how)
        signal.pause()
    os._exit(how)


def apply(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that travels as an argument."""
    return function(*args)


def call(function: Callable[[], Any]) -> Any:
    """Call a function without arguments."""
    return function()


@task_token_guard(operation_type="decode")
def call_decode() -> Any:
    """Raise an error of the library that the wire is made with."""
    import msgspec

    return msgspec.json.decode(b'"a"', type=int)


@task_token_guard(operation_type="later", weight="heavy")
def apply_later(value: Any) -> Any:
    """Give back what is given; an operation of its own, never measured before."""
    return value


def loaded() -> list[str]:
    """Give the names of all modules of this process."""
    return sorted(sys.modules)


def surroundings() -> dict[str, Any]:
    """Give what this process was started with."""
    names = [name for name in dir(sys.flags) if not name.startswith(("_", "n_"))]
    return {
        "path": sys.path,
        "argv": sys.argv,
        "cwd": os.getcwd(),  # noqa: PTH109 - pathlib is not light
        "added": os.environ.get("ADDED"),
        "flags": {
            name: getattr(sys.flags, name) for name in names if name not in {"count", "index"}
        },
    }


def descriptors() -> list[str]:
    """Give what the descriptors of this process refer to."""
    targets = []
    for fd in sorted(map(int, os.listdir("/proc/self/fd"))):  # noqa: PTH208 - as above
        try:
            targets.append(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - as above
        except FileNotFoundError:
            pass
    return targets


def descriptors_of_a_child() -> list[str]:
    """Give the descriptors of a process that is started with all that can be inherited."""
    import subprocess

    command = [sys.executable, "-c", "import os; print(*os.listdir('/proc/self/fd'))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, close_fds=False)
    return done.stdout.split()


def set_a_handler() -> str:
    """Handle a signal in this process."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append("handled"))
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    return seen[0]


def sum_in_threads(count: int) -> int:
    """Add numbers up, each in a thread."""
    total: list[int] = []
    threads = [threading.Thread(target=total.append, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(total)


@task_token_guard(operation_type="hold")
def hold_the_gil(address: gates.Address) -> int:
    """Report to a gate, and then stay in C code that never lets another thread run."""
    import gates

    gates.report_to(address)
    return sum(range(10**15))


@task_token_guard(operation_type="filled")
def filled(size: int) -> list[bytes]:
    """Give so many bytes."""
    return [bytes(size)]


@task_token_guard(operation_type="sizes")
def sizes(*values: list[bytes]) -> tuple[int, ...]:
    """Give how many bytes each has."""
    return tuple(len(value[0]) for value in values)
