"""What core processes inherit with the arguments of their initializer.

Locks, queues, shared memory and pipes of multiprocessing can be given to child processes when these
are started, and in no other way. They are pickled then while a process is being started, as far as
multiprocessing can tell: `Inheritance` is what it asks to take a descriptor along. A coordinator
pickles them once, and its core processes are started later, and replaced: so the descriptors are
copies, which stay open as long as processes may be started.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class InheritedDescriptor:
    """A descriptor that a core process is started with, under the same number.

    Args:
        fd: The descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def detach(self) -> int:
        """Return the descriptor, which belongs to the caller from now on."""
        os.set_inheritable(self._fd, False)
        return self._fd


class Inheritance:
    """The descriptors that core processes are started with, and what has to live as long.

    Args:
        owners: Objects that must not end before: a semaphore loses its name with its object.

    Attributes:
        descriptors: The descriptors; closed when the object is collected.
    """

    DupFd = InheritedDescriptor

    def __init__(self, owners: object) -> None:
        self.descriptors: list[int] = []
        self._owners = owners
        weakref.finalize(self, _close, self.descriptors)

    def duplicate_for_child(self, fd: int) -> int:
        """Take a descriptor along, for multiprocessing; returns its number in core processes."""
        copy = os.dup(fd)
        self.descriptors.append(copy)
        return copy


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def is_needed() -> bool:
    """Whether anything can be there that is inherited: whether multiprocessing is in use."""
    return "multiprocessing.context" in sys.modules


@contextmanager
def inheriting(inheritance: Inheritance) -> Iterator[None]:
    """Let multiprocessing take what is pickled within the context for inherited."""
    from multiprocessing import context  # noqa: PLC0415 - loaded, or not needed

    popen: Any = inheritance  # the part of a `Popen` that is asked for
    before = context.get_spawning_popen()
    context.set_spawning_popen(popen)
    try:
        yield
    finally:
        context.set_spawning_popen(before)
