from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from children import environment

from tokengate_mp.errors import CoreStartError
from tokengate_mp.wire.channel import segment
from tokengate_mp.wire.channel.segment import PORTABLE_VARIABLE, Segment

SHM = Path("/dev/shm")  # noqa: S108 - it is looked at, nothing is put there
FDS = Path("/proc/self/fd")

pytestmark = pytest.mark.skipif(not FDS.is_dir(), reason="needs /proc")


@pytest.fixture(params=["0", "1"], ids=["memfd", "portable"])
def path(request, monkeypatch):
    """Both ways of getting shared memory."""
    monkeypatch.setenv(PORTABLE_VARIABLE, request.param)
    if request.param == "1" and sys.version_info < (3, 13):
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # its pipe stays open, and is not the segment's
    return request.param


def _descriptors():
    return set(os.listdir(FDS))  # noqa: PTH208 - names are wanted


def run(code, **more):
    """Run `code` in an interpreter of its own, in which what it does to its limits stays."""
    return subprocess.run(
        [sys.executable, "-c", dedent(code)],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


def test_segment_is_zero_and_can_be_written(path):
    """A new segment has exactly the size that was asked for, and nothing in it."""
    with Segment.allocate(10_000) as made:
        assert bytes(made.view) == bytes(10_000)
        made.view[-3:] = b"end"
        assert bytes(made.view[-3:]) == b"end"


def test_segment_has_no_name(path):
    """From the start there is nothing in /dev/shm that a killed process could leave behind."""
    before = set(SHM.iterdir())
    with Segment.allocate(4096):
        assert set(SHM.iterdir()) == before


def test_closing_gives_up_every_descriptor(path):
    """A segment that was closed has left nothing open."""
    before = _descriptors()
    Segment.allocate(4096).unmap()
    assert _descriptors() == before


def test_child_that_inherits_the_descriptor_shares_the_memory(path):
    """What a child writes is here, also after the child has ended."""
    code = (
        "import sys; from tokengate_mp.wire.channel.segment import Segment; "
        "s = Segment.attach(int(sys.argv[1]), 4096); "
        "s.view[:5] = bytes(s.view[5:10]).upper(); s.unmap()"
    )
    with Segment.allocate(8192) as made:
        made.view[5:10] = b"hello"
        subprocess.run(
            [sys.executable, "-c", code, str(made.fd)],
            pass_fds=[made.fd],
            env=environment(),
            check=True,
        )
        assert bytes(made.view[:5]) == b"HELLO"


def test_descriptor_is_not_inherited_unasked(path):
    """A process that a token starts does not hold a core's memory."""
    with Segment.allocate(4096) as made:
        assert not os.get_inheritable(made.fd)


def test_memory_that_cannot_be_had_is_an_error_at_the_start(path):
    """No promise that ends in SIGBUS later: a limit on file sizes is met when a segment is made.

    And what had been opened until then is closed.
    """
    done = run(
        """
        import os, resource
        from tokengate_mp.errors import CoreStartError
        from tokengate_mp.wire.channel.segment import Segment
        Segment.allocate(4096).unmap()
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        before = os.listdir("/proc/self/fd")
        try:
            Segment.allocate(1 << 20)
        except CoreStartError as error:
            print(error)
        assert os.listdir("/proc/self/fd") == before
        Segment.allocate(65536).unmap()
        """,
    )
    assert done.returncode == 0, done.stderr
    assert "no 1048576 bytes of shared memory" in done.stdout
    assert "doctor" in done.stdout


def test_small_shared_memory_file_system_is_an_error_at_the_start():
    """On the portable path /dev/shm is the limit, and one of 64 kB is found too small at once."""
    code = """
        import os
        from tokengate_mp.errors import CoreStartError
        from tokengate_mp.wire.channel.segment import Segment
        Segment.allocate(4096).unmap()
        before = os.listdir("/proc/self/fd")
        try:
            Segment.allocate(1 << 20)
        except CoreStartError as error:
            print(error)
        assert os.listdir("/proc/self/fd") == before
        assert os.listdir("/dev/shm") == []
        Segment.allocate(32768).unmap()
    """
    mounted = "mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "
    own_mounts = ["unshare", "--mount", "sh", "-c"]
    probe = subprocess.run([*own_mounts, f"{mounted} true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {probe.stderr.decode().strip()}")
    done = subprocess.run(
        [*own_mounts, f'{mounted} "$0" -c "$1"', sys.executable, dedent(code)],
        env=environment(**{PORTABLE_VARIABLE: "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no 1048576 bytes of shared memory" in done.stdout


@pytest.mark.parametrize("failing", ["_reserve", "mmap"])
def test_no_descriptor_is_left_by_a_failure(path, failing, monkeypatch):
    """Whatever step fails, what the earlier ones opened is closed."""

    def fail(*_args):
        raise OSError(28, "No space left on device")

    Segment.allocate(4096).unmap()
    before = _descriptors()
    if failing == "mmap" and path == "0":
        monkeypatch.setattr(mmap, "mmap", fail)
    else:
        monkeypatch.setattr(segment, "_reserve", fail)
    with pytest.raises(CoreStartError, match="No space left on device"):
        Segment.allocate(4096)
    assert _descriptors() == before


def test_no_descriptor_free_is_an_error_of_the_same_kind(path):
    """A process that has used up its descriptors is told so, as a `CoreStartError`."""
    done = run(
        """
        import os, resource
        from tokengate_mp.errors import CoreStartError
        from tokengate_mp.wire.channel.segment import Segment
        Segment.allocate(4096).unmap()
        highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, highest + 8))
        taken = []
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for free in range(3):
            try:
                Segment.allocate(4096).unmap()
            except CoreStartError as error:
                print(free, error)
            os.close(taken.pop())
        """,
    )
    assert done.returncode == 0, done.stderr
    assert "Too many open files" in done.stdout


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the tracker cannot be had without before")
def test_portable_path_starts_no_resource_tracker():
    """Where Python lets a shared memory block go untracked, no process is started for it."""
    done = run(
        """
        from tokengate_mp.wire.channel.segment import Segment
        Segment.allocate(4096).unmap()
        from multiprocessing import resource_tracker
        assert resource_tracker._resource_tracker._pid is None
        """,
        **{PORTABLE_VARIABLE: "1"},
    )
    assert done.returncode == 0, done.stderr
