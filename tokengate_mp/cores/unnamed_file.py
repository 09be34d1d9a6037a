"""Files without a name, which core processes inherit and read."""

from __future__ import annotations

import os

from tokengate_mp.wire.channel.segment import portable


def unnamed_file(content: bytes, name: str) -> int:
    """Write a file without a name; return its descriptor, positioned at the beginning.

    Args:
        content: The content of the file.
        name: What to call it in lists of open files, where that is possible.

    Raises:
        OSError: There is no room for it, or no descriptor is left.
    """
    if portable():
        import tempfile  # noqa: PLC0415 - where it is needed

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    else:
        fd = os.memfd_create(name)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
    except BaseException:
        os.close(fd)
        raise
    return fd
