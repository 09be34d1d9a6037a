"""The file that core processes read their initializer from: see `worker.run.initializer`."""

from __future__ import annotations

import os


class InitializerFile:
    """A file without a name, for as long as core processes may be started.

    Args:
        packed: What it holds, from `wire.protocol.initializer.pack_initializer`; empty for no file.

    Attributes:
        fd: Its descriptor; None if there is none.
    """

    def __init__(self, packed: bytes) -> None:
        self.fd = nameless_file(packed) if packed else None

    def close(self) -> None:
        """Close the descriptor; further calls do nothing."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)


def nameless_file(content: bytes) -> int:
    """Make a file without a name, which processes inherit; return its descriptor."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tokengate-file")
    else:
        import tempfile  # noqa: PLC0415 - where it is needed

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd
