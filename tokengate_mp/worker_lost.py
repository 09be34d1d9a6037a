"""The error of a token whose core process died under it.

It stands apart from the other errors because it is also a `BrokenProcessPool`, and importing that
loads multiprocessing: some 20 ms that no core process should pay for an error that only the
parent raises.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from signal import SIGKILL, Signals

from tokengate_mp.errors import TokenGateError


class WorkerLost(TokenGateError, BrokenProcessPool):
    """The core process that was running the token died.

    Attributes:
        pid: Process id of the core process.
        exitcode: Its exit code, or the negative number of the signal that ended it (as in
            `subprocess.Popen.returncode`); None where it is not known.
    """

    def __init__(self, pid: int, exitcode: int | None, detail: str = "") -> None:
        super().__init__(pid, exitcode, detail)
        self.pid = pid
        self.exitcode = exitcode
        self.detail = detail

    def __str__(self) -> str:
        text = f"core process {self.pid} {_how_it_ended(self.exitcode)}"
        return f"{text}; {self.detail}" if self.detail else text


def _how_it_ended(exitcode: int | None) -> str:
    if exitcode is None:
        return "died"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    try:
        name = Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    hint = (
        " (if nobody sent it, the kernel's OOM killer did: look in `dmesg`, give each token less "
        "memory, or use fewer cores)"
        if -exitcode == SIGKILL
        else ""
    )
    return f"was ended by {name}{hint}"
