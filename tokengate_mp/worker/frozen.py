"""Frozen applications: core processes of programs that bring their own interpreter.

PyInstaller, cx_Freeze and the like make of a program and its interpreter a single executable. There
is no interpreter in it that could be given another program, so a core process is the application
started anew, which has to notice that before it does anything else.
"""

from __future__ import annotations

import marshal
import os
import sys

from tokengate_mp import this_process
from tokengate_mp.wire.protocol.brief import BOOT_VARIABLE, CORE_ARGUMENT


def freeze_support() -> None:
    """Become a core process, if this process was started to be one; else return at once.

    A frozen application calls this first of all in its main module, before anything that only the
    application itself is to do; elsewhere the call does no harm. In a core process it does not
    return.

        if __name__ == "__main__":
            tokengate_mp.freeze_support()
            main()
    """
    this_process.support_freezing()
    given = getattr(sys, "argv", [])
    if given[1:2] != [CORE_ARGUMENT]:
        return
    with os.fdopen(int(given[2]), "rb") as file:
        brief, directory, sys.path[:], sys.argv[:] = marshal.load(file)  # noqa: S302 - of the parent
    if directory is not None:
        os.fchdir(directory)
    os.environ.pop(BOOT_VARIABLE, None)
    from tokengate_mp.worker.main import main  # noqa: PLC0415 - in a core process alone

    main(brief)
    sys.exit()
