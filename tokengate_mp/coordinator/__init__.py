"""The parent's side: performs what the scheduler orders, and looks after the core processes."""

import logging
import sys

if sys.platform == "win32":
    raise ImportError(
        "tokengate_mp runs on Linux and macOS: it needs descriptors that a process can inherit, "
        "and Windows has none. WSL works."
    )

# Here and not at the top of the package: a core process has no use for it, and logging takes some
# ms to import.
logging.getLogger("tokengate_mp").addHandler(logging.NullHandler())
