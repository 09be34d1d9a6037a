"""Shared memory without a name that could be left behind.

A segment is made by the parent, and its descriptor is inherited by one core process. On Linux it
is a memfd: it never has a name, so whoever is killed, in whatever order, the kernel frees it with
the last descriptor, and the size of /dev/shm does not matter. Elsewhere, and where a sandbox
refuses the calls, it is a `multiprocessing.shared_memory` block whose name is removed at once.

All its pages are allocated when it is made. Memory that is only promised ends in SIGBUS at the
first touch that cannot be met; this way it is an error here, at the start.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from types import TracebackType
from typing import Any, Final, Self

from tokengate_mp.errors import CoreStartError

PORTABLE_VARIABLE: Final = "TOKENGATE_MP_PORTABLE"
"""Environment variable: anything but empty or "0" forces the path that does without Linux calls."""

REFUSALS: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})
"""What a call is answered that the kernel does not have, or a sandbox does not let through."""


def portable() -> bool:
    """Whether to do without calls that only Linux has, or that are refused here."""
    forced = os.environ.get(PORTABLE_VARIABLE, "0")
    return forced not in {"", "0"} or not has_linux_calls()


def has_linux_calls() -> bool:
    """Whether memfd_create and eventfd are there and allowed; found out once in each process."""
    global _has_linux_calls  # noqa: PLW0603 - a sandbox is never left
    if _has_linux_calls is None:
        try:
            os.close(os.memfd_create("tokengate_mp"))
            os.close(os.eventfd(0, os.EFD_NONBLOCK))
        except AttributeError:
            _has_linux_calls = False
        except OSError as error:
            if error.errno not in REFUSALS:  # no descriptor is left: no answer for ever
                return True
            _has_linux_calls = False
        else:
            _has_linux_calls = True
    return _has_linux_calls


_has_linux_calls: bool | None = None


class Segment:
    """A piece of memory that two processes share.

    Attributes:
        fd: Its descriptor, to be inherited. `unmap` closes it.
        view: Its bytes.
    """

    __slots__ = ("_map", "fd", "view")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, size)
        self.view = memoryview(self._map)

    @classmethod
    def allocate(cls, size: int) -> Self:
        """Allocate a segment of `size` bytes, all zero.

        Raises:
            CoreStartError: There is not enough shared memory, or no descriptor left for it.
        """
        fd = -1
        try:
            fd = unnamed(size) if portable() else os.memfd_create("tokengate_mp")
            _reserve(fd, size)
            return cls(fd, size)
        except (OSError, ValueError) as error:
            if fd >= 0:
                os.close(fd)
            raise CoreStartError(
                f"no {size} bytes of shared memory for a core's mailbox: {error}. "
                "`python -m tokengate_mp doctor` shows what there is; a smaller ring_bytes or "
                "fewer cores need less."
            ) from error

    @classmethod
    def attach(cls, fd: int, size: int) -> Self:
        """Map the segment of `size` bytes behind an inherited descriptor.

        (Its file may be longer: some systems round up to whole pages.)
        """
        return cls(fd, size)

    def unmap(self) -> None:
        """Release the memory and close the descriptor. All views of `view` must be released."""
        self.view.release()
        self._map.close()
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.unmap()


def unnamed(size: int) -> int:
    """Make a shared memory block without a name; return its descriptor."""
    from multiprocessing.shared_memory import SharedMemory  # noqa: PLC0415 - portable path only

    # The name exists from here to the end of this function. Until Python 3.12 a resource tracker
    # sees to it that a process killed in between does not leave it; it cannot be had without, and
    # is a process of its own, so where it can (3.13) those microseconds are not worth one.
    untracked: dict[str, Any] = {"track": False} if sys.version_info >= (3, 13) else {}
    block = SharedMemory(create=True, size=size, **untracked)
    try:
        return os.dup(block._fd)  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
    finally:
        block.close()
        block.unlink()


def _reserve(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
    elif os.fstat(fd).st_size < size:
        # macOS: SharedMemory has set the size; its pages are backed by swap and cannot be reserved.
        os.ftruncate(fd, size)
