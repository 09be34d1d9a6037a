"""Gates: a token reports that it has begun, and goes on when the test lets it.

So a test knows what runs at a moment, in whichever process, without waiting for time to pass. What
core processes import from here is light: no test framework.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from types import TracebackType

Address = tuple[str, int]

PATIENCE = 20.0
"""Seconds that a test waits for a token to arrive before it fails."""


class Arrival(NamedTuple):
    """A token that waits at a gate."""

    name: str
    pid: int
    thread: int
    connection: socket.socket


class Gate:
    """The test's side of a gate. Nobody is held up any more once it is closed."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._server.settimeout(PATIENCE)
        self._waiting: list[Arrival] = []
        self.address: Address = self._server.getsockname()

    def arrivals(self, count: int = 1) -> list[Arrival]:
        """Wait for `count` more tokens to come, and say who they are."""
        came: list[Arrival] = []
        while len(came) < count:
            connection, _ = self._server.accept()
            with connection.makefile("r", encoding="utf-8", newline="\n") as lines:
                line = lines.readline()
            if not line.endswith("\n"):  # it was ended before it had said who it is
                connection.close()
                continue
            name, pid, thread = line.rstrip("\n").rsplit(" ", 2)
            came.append(Arrival(name, int(pid), int(thread), connection))
            self._waiting.append(came[-1])
        return came

    def names(self, count: int = 1) -> list[str]:
        """Wait for `count` more tokens to come, and give their names."""
        return [arrival.name for arrival in self.arrivals(count)]

    def open(self, *names: str) -> None:
        """Let the tokens of these names pass, or all that wait."""
        for arrival in list(self._waiting):
            if not names or arrival.name in names:
                self._waiting.remove(arrival)
                arrival.connection.close()

    def close(self) -> None:
        """Let everybody pass, now and later."""
        self.open()
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class _Connection(socket.socket):
    """A token's side of a gate, closed without a warning when nothing refers to it.

    A token is interrupted at any line, so also before its `with`.
    """

    def __del__(self) -> None:
        self.close()


def _arrive(address: Address, name: str) -> socket.socket:
    connection = _Connection()
    connection.connect(address)
    line = f"{name} {os.getpid()} {threading.get_native_id()}\n"
    connection.sendall(line.encode())
    return connection


def wait_at(address: Address, name: str = "") -> str:
    """Wait at a gate, off the CPU, until the test opens it."""
    try:
        with _arrive(address, name) as connection:
            connection.recv(1)
    except OSError:  # the gate is closed: nobody is held up
        pass
    return name


def spin_at(address: Address, name: str = "") -> str:
    """Wait at a gate, computing, until the test opens it."""
    with _arrive(address, name) as connection:
        connection.setblocking(False)
        while True:
            try:
                connection.recv(1)
            except BlockingIOError:
                continue
            except OSError:
                return name
            return name


def report_to(address: Address, name: str = "") -> None:
    """Be seen at a gate, and go on at once."""
    _arrive(address, name).close()
