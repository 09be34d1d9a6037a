"""How much memory a core process may have for itself."""

from __future__ import annotations


def limit_memory(limit: int) -> None:
    """Let an allocation beyond `limit` bytes of this process's own memory fail.

    (RLIMIT_DATA, setrlimit(2): since Linux 4.7 all private memory that can be written counts, and
    nothing of what is shared. What the process starts has the same limit, each for itself.)
    """
    import resource  # noqa: PLC0415 - for few core processes

    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
