"""The command line: `tokengate-mp`, or `python -m tokengate_mp`.

`arguments` says what can be asked for; `demo`, `bench`, `soak` and `doctor` each carry out one
command. Of these all but `doctor` draw with rich (through `screen`), which is an extra: they are
loaded when they are asked for, so that `doctor` works on the barest installation.

Exit codes: 0 all is well; 1 something is not: a failed token, a wrong digit, a check
that does not hold, a broken machine; 2 it
cannot be done as asked; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from tokengate_mp.cli.arguments import parse
from tokengate_mp.errors import TokenGateError

OK = 0
CANNOT = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command of `argv` (by default the process's own) and return the exit code."""
    asked = parse(argv)
    try:
        command = import_module(f"tokengate_mp.cli.{asked.command}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        return _refuse(
            f"`{asked.command}` draws its tables with rich, which is not installed: "
            "pip install 'tokengate_mp[cli]'"
        )
    try:
        code: int = command.run(asked)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output (head, a pager) has seen enough. Without this the interpreter
        # would try to flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (TokenGateError, OSError, ValueError) as error:
        return _refuse(str(error))
    return code


def _refuse(reason: str) -> int:
    print(f"tokengate-mp: {reason}", file=sys.stderr)
    return CANNOT
