"""Facts of this machine and this interpreter that a figure has to be read with.

The standard library is enough for them: the doctor asks here whether the other packages are there.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from tokengate_mp import __version__

CORE_PACKAGES: Final = ("psutil", "cloudpickle", "msgspec")
"""What tokengate_mp cannot work without."""
OPTIONAL_PACKAGES: Final = ("rich", "uvloop", "numpy", "loky", "pebble", "joblib")


def package_versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Return the installed version of each distribution; None where none is installed."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def cpu_model() -> str:
    """Return the processor's name from the kernel, else from the platform module."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gil_enabled() -> bool:
    """Return whether the interpreter runs with a GIL (all before 3.13 do)."""
    probe = getattr(sys, "_is_gil_enabled", None)
    return True if probe is None else bool(probe())


def facts() -> dict[str, Any]:
    """Return the facts to write beside any figure measured on this machine, as plain data."""
    return {
        "tokengate_mp": __version__,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "gil": gil_enabled(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "load_average": os.getloadavg(),
        "packages": package_versions((*CORE_PACKAGES, *OPTIONAL_PACKAGES)),
    }
