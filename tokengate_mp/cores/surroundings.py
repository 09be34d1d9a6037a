"""The surroundings of core processes: what each process of a coordinator begins with.

They are taken once, when the first process is started. So a process that replaces another has the
environment, the working directory, `sys.path` and the log levels of its neighbours, whatever the
program has changed meanwhile.
"""

from __future__ import annotations

import os
import random
import sys
from multiprocessing.process import current_process
from types import ModuleType
from typing import Final, Self

from tokengate_mp.cores.interpreter import arguments, command
from tokengate_mp.cores.output import level_names, levels
from tokengate_mp.cores.search_path import search_path
from tokengate_mp.cores.unnamed_file import unnamed_file
from tokengate_mp.wire.protocol.brief import (
    BOOT_VARIABLE,
    MainBrief,
    SharedBrief,
    WorkerIdentity,
    encode_shared,
)

_ONE_THREAD: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Numeric libraries would start a thread per CPU in every core process: n² threads on n CPUs."""

_HASH_SEED: Final = "PYTHONHASHSEED"
_GREATEST_SEED: Final = (1 << 32) - 1


class Surroundings:
    """What core processes begin with, as it was at one moment.

    Args:
        tracker: Descriptor of the `TrackerDoor`.
        hash_seed: The hash seed of processes that have none from the user; 0 for a new one.

    Attributes:
        environment: Their environment variables.
        command: Their command line, less the descriptor of the file that they read first.
        path: Their `sys.path`.
        argv: Their `sys.argv`.
        directory: Descriptor of their working directory; None for the program's at each start.
        brief: Descriptor of the file with the `SharedBrief`.
        hash_seed: The hash seed of processes that have none from the user.
        tracker: Descriptor of the `TrackerDoor`.

    Raises:
        CoreStartError: There is no interpreter to start.
        OSError: No descriptor is left.
    """

    def __init__(self, tracker: int, hash_seed: int = 0) -> None:
        self.tracker = tracker
        self.hash_seed = hash_seed or random.SystemRandom().randint(1, _GREATEST_SEED)
        self.command = command()
        self.environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ, BOOT_VARIABLE: "1"}
        given = self.environment.get(_HASH_SEED, "")
        # (Strings are hashed by a seed of each process's own, unless the user names a seed.)
        own_seed = bool(sys.flags.hash_randomization) and given in {"", "0", "random"}
        if own_seed:
            self.environment[_HASH_SEED] = str(self.hash_seed)
        self.path = search_path()
        self.argv = arguments()
        known, disabled = levels()
        shared = SharedBrief(
            levels=known,
            disabled=disabled,
            level_names=level_names(),
            identity=_identity(),
            main=_main(),
            environment={_HASH_SEED: os.environ.get(_HASH_SEED)} if own_seed else {},
        )
        self.directory = _working_directory()
        try:
            self.brief = unnamed_file(encode_shared(shared), "tokengate-surroundings")
        except BaseException:
            self._close_directory()
            raise

    def renewed(self) -> Self:
        """Take the surroundings of now; the hash seed stays, as processes of both kinds overlap."""
        return type(self)(self.tracker, self.hash_seed)

    @property
    def fds(self) -> tuple[int, ...]:
        """Every descriptor that a process inherits."""
        return (self.brief,) if self.directory is None else (self.brief, self.directory)

    def close(self) -> None:
        """Close the descriptors: no further process is started."""
        os.close(self.brief)
        self._close_directory()

    def _close_directory(self) -> None:
        if self.directory is not None:
            os.close(self.directory)


def _identity() -> WorkerIdentity:
    parent = current_process()
    start_method = None
    if "multiprocessing.context" in sys.modules:
        from multiprocessing import get_start_method  # noqa: PLC0415 - not loaded for this alone

        start_method = get_start_method(allow_none=True)
    return WorkerIdentity(
        parent=parent.name,
        numbers=parent._identity,  # noqa: SLF001 - as a pool's worker gets it
        authkey=bytes(parent.authkey),
        start_method=start_method,
    )


def _main() -> MainBrief:
    """Describe `__main__` of this process."""
    main: ModuleType | None = sys.modules.get("__main__")
    variables = {} if main is None else vars(main)
    spec = variables.get("__spec__")
    return MainBrief(
        file=_text(variables.get("__file__")),
        doc=_text(variables.get("__doc__")),
        package=_text(variables.get("__package__")),
        spec=_text(getattr(spec, "name", None)),
    )


def _text(value: object) -> str | None:
    return value if type(value) is str else None


def _working_directory() -> int | None:
    # By descriptor: the directory may be renamed or removed, and its neighbours are still in it.
    try:
        return os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    except OSError:
        return None
