"""The control groups that this process is in (Linux)."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def groups(root: Path, own: Path, controller: str) -> list[Path]:
    """Directories of the control groups of the process, and of all groups above.

    Args:
        root: Where the control groups are mounted.
        own: The file that says which groups this process is in.
        controller: The controller that is asked for, where each has groups of its own (version 1).
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # no control groups on this system
        return []
    found: list[Path] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        # In a container the path may be the host's; then only the top is there.
        relative = Path(path.lstrip("/"))
        found += [base / part for part in (relative, *relative.parents)]
    return found
