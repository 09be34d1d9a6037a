"""What a process that a test starts is given."""

from __future__ import annotations

import os
import sys


def environment(**more):
    """This process's environment, with everything importable that is importable here."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}
