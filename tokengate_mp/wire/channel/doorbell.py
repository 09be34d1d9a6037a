"""Doorbells: how a process that sleeps learns that there is something in its ring.

A bell is a descriptor that becomes readable. Ringing is a system call, so it is done only for a
consumer that has said it is going to sleep:

    consumer: arm; full fence; look once more; if there is still nothing, sleep
    producer: publish; full fence; if armed, ring

With the fences, at least one of the two sees the other's store: either the consumer finds the
record at its last look, or the producer finds the bell armed. Without them both could miss (each
store waits in its CPU's store buffer while the load behind it is done, on x86-64 too: see
`ordering`), and the consumer would sleep over a full ring. Behind all that a core process, which
has nothing else to wake it, never sleeps longer than `MAX_SLEEP` before it looks again by itself.

Arming stores a number that differs from all before, and a producer rings once for each number it
sees: so each side writes only its own word, and nobody has to take anything back. (`mailbox` has
both sides: `Arming` and `Ringing`.)
"""

from __future__ import annotations

import os
import select
from typing import Final, TypeAlias

from tokengate_mp.wire.channel.segment import portable

MAX_SLEEP: Final = 1.0
"""The longest sleep of a core process before it looks at its ring all the same, seconds."""


class EventBell:
    """A doorbell on an eventfd (Linux).

    Args:
        fds: Its one descriptor.

    Attributes:
        fds: The descriptors for another process to inherit; `attach` makes the same bell there.
        fd: The descriptor that becomes readable when the bell rings.
    """

    __slots__ = ("fd", "fds")

    def __init__(self, fds: tuple[int, ...]) -> None:
        self.fds = fds
        self.fd = fds[0]

    @classmethod
    def open_new(cls) -> EventBell:
        """Make a bell with a descriptor of its own."""
        return cls((os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC),))

    def ring(self) -> None:
        """Make `fd` readable. Never blocks; ringing twice is ringing once."""
        try:
            os.eventfd_write(self.fd, 1)
        except BlockingIOError:  # full of rings, 2**64 - 2 of them: as good as rung
            pass

    def silence(self) -> None:
        """Make `fd` unreadable again. Never blocks."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:  # nobody rang since
            pass

    def close_bell(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


class SocketBell:
    """A doorbell on a pair of sockets, for systems without eventfd.

    Args:
        fds: The descriptors of the two sockets, the reading end first.

    Attributes:
        fds: As for `EventBell`.
        fd: As for `EventBell`.
    """

    __slots__ = ("_far", "_near", "fd", "fds")

    def __init__(self, fds: tuple[int, ...]) -> None:
        import socket  # noqa: PLC0415 - some ms of a core's start, for those that need it

        self.fds = fds
        self.fd = fds[0]
        self._near = socket.socket(fileno=fds[0])
        self._far = socket.socket(fileno=fds[1])
        for end in (self._near, self._far):
            end.setblocking(False)

    @classmethod
    def open_new(cls) -> SocketBell:
        """Make a bell with two sockets of its own."""
        import socket  # noqa: PLC0415 - as above

        near, far = socket.socketpair()
        return cls((near.detach(), far.detach()))

    def ring(self) -> None:
        """Make `fd` readable. Never blocks; ringing twice is ringing once."""
        try:
            self._far.send(b"\0")
        except BlockingIOError:  # full of rings: as good as rung
            pass

    def silence(self) -> None:
        """Make `fd` unreadable again. Never blocks."""
        try:
            while len(self._near.recv(4096)) == 4096:  # noqa: PLR2004 - until it is drained
                pass
        except BlockingIOError:  # nobody rang since
            pass

    def close_bell(self) -> None:
        """Close both sockets."""
        self._near.close()
        self._far.close()


Doorbell: TypeAlias = EventBell | SocketBell
"""Wakes one consumer, in another process or in another thread."""


def new_doorbell() -> Doorbell:
    """Make a doorbell of the best kind that the system has."""
    return SocketBell.open_new() if portable() else EventBell.open_new()


def attach(fds: tuple[int, ...]) -> Doorbell:
    """Make the doorbell behind inherited descriptors."""
    return EventBell(fds) if len(fds) == 1 else SocketBell(fds)


class Sleeper:
    """Waits for a bell in a process without an event loop.

    Args:
        bell: The bell.
    """

    __slots__ = ("_bell", "_poll")

    def __init__(self, bell: Doorbell) -> None:
        self._bell = bell
        self._poll = select.poll()
        self._poll.register(bell.fd, select.POLLIN)

    def sleep(self, seconds: float = MAX_SLEEP) -> None:
        """Return when the bell was rung, or after `seconds`."""
        if self._poll.poll(seconds * 1000):
            self._bell.silence()

    def was_woken(self) -> bool:
        """Whether the bell was rung since. Other threads may have the GIL meanwhile."""
        if not self._poll.poll(0):
            return False
        self._bell.silence()
        return True
