"""Doorbells: how a process that sleeps learns that there is something in its ring.

A bell is a descriptor that becomes readable. Ringing is a system call, so it is done only for a
consumer that has said it is going to sleep:

    consumer: arm; full fence; look once more; if there is still nothing, sleep
    producer: publish; full fence; if armed, ring

With the fences, at least one of the two sees the other's store: either the consumer finds the
record at its last look, or the producer finds the bell armed. Without them both could miss (each
store waits in its CPU's store buffer while the load behind it is done, on x86-64 too), and the
consumer would sleep over a full ring. Behind all that every sleep is bounded by `PATIENCE`, after
which the consumer looks again by itself.

Arming stores a number that differs from the last one, and a producer rings once for each number it
sees: so each side writes only its own word, and nobody has to take anything back.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Final, Protocol

from tokengate_mp.wire.segment import portable

PATIENCE: Final = 1.0
"""The longest sleep before looking at the ring all the same, seconds."""

_fence_lock = threading.Lock()


def full_fence() -> None:
    """No load or store of this thread crosses this point.

    Pure Python has no fence, but a lock has to have one on either side: taking it is an atomic
    read-modify-write, giving it back another. Nobody else ever holds this one for long.
    """
    _fence_lock.acquire()
    _fence_lock.release()


class Doorbell(Protocol):
    """Wakes one consumer."""

    fds: tuple[int, ...]

    def ring(self) -> None:
        """Make `fileno()` readable. Never blocks; ringing twice is ringing once."""

    def clear(self) -> None:
        """Make it unreadable again. Never blocks."""

    def fileno(self) -> int:
        """What the consumer waits for."""

    def close(self) -> None:
        """Give up its descriptors."""


class EventBell:
    """A doorbell on an eventfd (Linux)."""

    __slots__ = ("_fd", "fds")

    def __init__(self, fds: tuple[int, ...]) -> None:
        self.fds = fds
        self._fd = fds[0]

    @classmethod
    def create(cls) -> EventBell:
        return cls((os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC),))

    def ring(self) -> None:
        # It cannot be full: that would take 2**64 - 2 rings without a look.
        os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:  # nobody rang since
            pass

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


class SocketBell:
    """A doorbell on a pair of sockets, for systems without eventfd."""

    __slots__ = ("_far", "_near", "fds")

    def __init__(self, fds: tuple[int, ...]) -> None:
        self.fds = fds
        self._near = socket.socket(fileno=fds[0])
        self._far = socket.socket(fileno=fds[1])
        for end in (self._near, self._far):
            end.setblocking(False)

    @classmethod
    def create(cls) -> SocketBell:
        near, far = socket.socketpair()
        return cls((near.detach(), far.detach()))

    def ring(self) -> None:
        try:
            self._far.send(b"\0")
        except BlockingIOError:  # full of rings: as good as rung
            pass

    def clear(self) -> None:
        try:
            while len(self._near.recv(4096)) == 4096:  # noqa: PLR2004 - until it is drained
                pass
        except BlockingIOError:  # nobody rang since
            pass

    def fileno(self) -> int:
        return self.fds[0]

    def close(self) -> None:
        self._near.close()
        self._far.close()


def create() -> Doorbell:
    """A new doorbell of the best kind that there is."""
    return SocketBell.create() if portable() else EventBell.create()


def attach(fds: tuple[int, ...]) -> Doorbell:
    """The doorbell behind inherited descriptors."""
    return EventBell(fds) if len(fds) == 1 else SocketBell(fds)


class Sleeper:
    """Waits for a bell in a process without an event loop."""

    __slots__ = ("_bell", "_poll")

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self._poll = select.poll()
        self._poll.register(bell.fileno(), select.POLLIN)

    def sleep(self, seconds: float = PATIENCE) -> None:
        """Return when the bell was rung, or after `seconds`."""
        if self._poll.poll(seconds * 1000):
            self._bell.clear()
