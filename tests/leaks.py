"""A test leaves the process as it found it: the fixtures that see to it.

What is watched: child processes (zombies too, and children of children), threads, and on Linux file
descriptors and the entries of /dev/shm. Each of them is compared by identity before and after, so
that one that ended does not make up for another that was left. Tests run beside each other, so an
entry of /dev/shm does not count that a process uses which this one has not started.

Some ends take a moment after the test's last line: a thread returns after it set its last event, a
process is reaped after its pipe closed. So what is left is looked at again until nothing is, up to
the ini option `leak_settle` in seconds; a clean test waits for none of it.

There are two fixtures because a test may use something that is set up before it and outlives it:
the first watches each test, the second each module, which also gets what its own fixtures leave.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator

_LOOK_AGAIN = 0.01
_FDS = Path("/proc/self/fd")
_SHM = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is put there
_FOLDER_OF = re.compile(r"/joblib_memmapping_folder_(\d+)_")

# Helpers that live as long as the process once something has started them: a test that happens to
# be the first to need one has not leaked it. Each is a module that may or may not be loaded, the
# name of its one instance, and where that keeps its process and its end of the pipe to it.
_LASTING_HELPERS = (
    # Unlinks shared memory if the process dies without doing so; started by the first segment.
    ("multiprocessing.resource_tracker", "_resource_tracker", "_pid", "_fd"),
    ("loky.backend.resource_tracker", "_resource_tracker", "_pid", "_fd"),
    ("joblib.externals.loky.backend.resource_tracker", "_resource_tracker", "_pid", "_fd"),
    # Forks the workers of a ProcessPoolExecutor, by default from Python 3.14 on.
    ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid", "_forkserver_alive_fd"),
)


def holdings() -> dict[Hashable, str]:
    """Look at everything that must not be left behind, each with the words to report it in."""
    helper_pids, helper_fds = _lasting_helpers()
    held: dict[Hashable, str] = {}
    for child in psutil.Process().children(recursive=True):
        if child.pid not in helper_pids:
            held[child] = _describe_process(child)
    for thread in threading.enumerate():
        # A dummy stands for a thread that Python did not start, and whose end it never learns of.
        if not isinstance(thread, threading._DummyThread):
            held[thread] = f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}"
    for fd, target in _open_descriptors():
        if fd not in helper_fds:
            held[fd, target] = f"file descriptor {fd} -> {target}"
    for segment in _own_segments():
        held[segment] = f"shared memory {segment}"
    return held


def _lasting_helpers() -> tuple[set[int], set[int]]:
    pids, fds = set(), set()
    for module, instance, pid, fd in _LASTING_HELPERS:
        if module in sys.modules:
            helper = getattr(sys.modules[module], instance)
            pids.add(getattr(helper, pid))
            fds.add(getattr(helper, fd))
    return pids, fds


def _describe_process(process: psutil.Process) -> str:
    try:
        status, command = process.status(), process.name()
        with contextlib.suppress(psutil.ZombieProcess):
            command = " ".join(process.cmdline()) or command
    except psutil.NoSuchProcess:
        return f"child process {process.pid} (just gone)"
    return f"child process {process.pid} ({status}): {command}"


def _open_descriptors() -> Iterator[tuple[int, str]]:
    if not _FDS.is_dir():
        return
    for fd in os.listdir(_FDS):  # noqa: PTH208 - names are wanted, and they are numbers
        try:
            yield int(fd), os.readlink(_FDS / fd)  # noqa: PTH115 - a target need not be a path
        except FileNotFoundError:
            pass  # the descriptor of the listing itself


def _own_segments() -> Iterator[str]:
    if not _SHM.is_dir():
        return
    for entry in os.scandir(_SHM):
        if entry.name.startswith("sem.mp-"):
            continue  # a test that runs beside this one may have made it: nothing says whose it is
        try:
            if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                yield entry.path
        except FileNotFoundError:
            pass  # unlinked between the listing and the look


def _of_others(segments: Collection[str]) -> set[str]:
    """Find the entries of /dev/shm that live processes use beside this one and what it started."""
    me = psutil.Process()
    own = {me.pid, *(child.pid for child in me.children(recursive=True))}
    theirs: set[str] = set()
    for pid in set(psutil.pids()) - own:
        used = "\n".join(_used_by(pid))
        for segment in segments:
            its_folder = f"{pid}" in _FOLDER_OF.findall(segment)
            if its_folder or re.search(rf"{re.escape(segment)}(?![^/\s])", used):
                theirs.add(segment)
    return theirs


def _used_by(pid: int) -> Iterator[str]:
    process = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        yield (process / "maps").read_text(errors="replace")
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed in between
                yield os.readlink(fd)  # noqa: PTH115 - a target need not be a path


def _left_beyond(before: Collection[Hashable], settle: float) -> dict[Hashable, str]:
    def look() -> dict[Hashable, str]:
        left = {thing: words for thing, words in holdings().items() if thing not in before}
        segments = [thing for thing in left if isinstance(thing, str)]
        for segment in _of_others(segments) if segments else ():
            del left[segment]
        return left

    left = look()
    if not left:
        return left
    # What only a cycle of dead objects still holds goes now, and warns now, in the test it is of.
    gc.collect()
    deadline = time.monotonic() + settle
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN)
    return left


# What a test has already been failed for, and its module need not be.
_reported: set[Hashable] = set()


def _watch(request: pytest.FixtureRequest) -> Iterator[None]:
    settle = float(request.config.getini("leak_settle"))
    before = holdings().keys()
    yield
    left = _left_beyond(before | _reported, settle)
    _reported.update(left)
    if left:
        pytest.fail(
            f"{request.node.nodeid} left behind, {settle:g} s after its end:\n  "
            + "\n  ".join(left.values()),
            pytrace=False,
        )


@pytest.fixture(autouse=True)
def nothing_left_by_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, thread, descriptor or segment behind.

    An autouse fixture of a plugin is set up before, and so checks after, everything that the test
    asks for, the runner that closes an asyncio test's event loop and its executor included.
    """
    yield from _watch(request)


@pytest.fixture(autouse=True, scope="module")
def nothing_left_by_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a module whose own fixtures leave something behind."""
    yield from _watch(request)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Make the time to settle an option, so that the tests of this module need not take it."""
    parser.addini("leak_settle", "Seconds that what a test used may take to end.", default="5")


def pytest_sessionstart() -> None:
    """Open what a library opens once per process and never closes, before anything is watched."""
    try:
        import uvloop
    except ImportError:
        return
    uvloop.new_event_loop().close()  # libuv's pipe for signals
