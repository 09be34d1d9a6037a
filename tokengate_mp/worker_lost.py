"""The errors of tokens whose core process died under them, or could not be made ready for them.

They stand apart from the other errors because they are also a `BrokenProcessPool`, and importing
that loads multiprocessing: some 20 ms that no core process should pay for errors that only the
parent raises.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from signal import SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, Signals
from typing import Final

from tokengate_mp.errors import CoreStartError, TokenGateError


class WorkerLost(TokenGateError, BrokenProcessPool):
    """The core process that was running the token died.

    Attributes:
        pid: Process id of the core process.
        exitcode: Its exit code, or the negative number of the signal that ended it (as in
            `subprocess.Popen.returncode`); None where it is not known.
        detail: What the process was doing.
        because: Why the coordinator ended it; empty if it did not.
    """

    def __init__(self, pid: int, exitcode: int | None, detail: str = "", because: str = "") -> None:
        super().__init__(pid, exitcode, detail, because)
        self.pid = pid
        self.exitcode = exitcode
        self.detail = detail
        self.because = because

    @property
    def signal(self) -> int | None:
        """The signal that ended the process; None if none did, or if that is not known."""
        return None if self.exitcode is None or self.exitcode >= 0 else -self.exitcode

    def __str__(self) -> str:
        if self.because:
            text = f"core process {self.pid} was ended, because {self.because}"
        else:
            text = f"core process {self.pid} {_how_it_ended(self.exitcode, self.signal)}"
        return f"{text}; {self.detail}" if self.detail else text


class InitializerFailed(CoreStartError, BrokenProcessPool):
    """The initializer raised in every core process that may run the token.

    The error of the initializer is the `__cause__`.
    """


def _how_it_ended(exitcode: int | None, signal: int | None) -> str:
    if signal is None:
        return "died" if exitcode is None else f"exited with code {exitcode}{_LEFT}"
    try:
        name = Signals(signal).name
    except ValueError:
        name = f"signal {signal}"
    hint = _KILLED if signal == SIGKILL else _CRASHED if signal in _CRASHES else ""
    return f"was ended by {name}{hint}"


_LEFT: Final = " (does something that the token calls end the whole process, as os._exit does?)"

_KILLED: Final = (
    " (if nobody sent it, the kernel's OOM killer did: look in `dmesg`, give each token less "
    "memory, or use fewer cores)"
)

_CRASHES: Final = frozenset({SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
_CRASHED: Final = " (native code crashed: run with PYTHONFAULTHANDLER=1 to see where)"
