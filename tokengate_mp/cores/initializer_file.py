"""The file that core processes read their initializer from: see `worker.run.initializer`."""

from __future__ import annotations

import os

from tokengate_mp.cores.unnamed_file import unnamed_file
from tokengate_mp.wire.protocol.initializer import inheritance_of


class InitializerFile:
    """A file without a name, for as long as core processes may be started.

    Args:
        packed: What it holds, from `wire.protocol.initializer.pack_initializer`; empty for no file.

    Attributes:
        fd: Its descriptor; None if there is none.
        inherited: Further descriptors that the processes are started with.
    """

    def __init__(self, packed: bytes) -> None:
        self.fd = unnamed_file(packed, "tokengate-initializer") if packed else None
        self._inheritance = inheritance_of(packed)  # kept as long as the file
        self.inherited = () if self._inheritance is None else (*self._inheritance.descriptors,)

    def close(self) -> None:
        """Close the descriptor; further calls do nothing."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)
