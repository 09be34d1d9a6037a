"""The command that starts a core process: the interpreter of this process with the same options.

A frozen application has no interpreter to start. There the application itself is started, with
an argument by which its `freeze_support` knows that it is a core process (see `worker.frozen`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from tokengate_mp import this_process
from tokengate_mp.errors import CoreStartError
from tokengate_mp.wire.protocol.brief import BOOT_VARIABLE, CORE_ARGUMENT

_BOOT: Final = (
    "import marshal, sys\n"
    "with open(int(sys.argv[1]), 'rb') as file:\n"
    "    brief, directory, sys.path[:], sys.argv[:] = marshal.load(file)\n"
    "import os; directory is None or os.fchdir(directory)\n"
    f"os.environ.pop({BOOT_VARIABLE!r}, None)\n"
    "later = 'typing_extensions'; sys.modules.setdefault(later); import msgspec\n"
    "sys.modules[later] or sys.modules.pop(later)\n"
    "from tokengate_mp.worker.main import main; main(brief)"
)
"""What a core process runs. Its argument is the file of its brief (see `wire.protocol.brief`).

What is imported before the search path is there is built into the interpreter.

msgspec takes from `typing_extensions`, if that is installed, what Python has itself from 3.11 on,
and to load it takes a fifth of the time until the process is up. So it is out of reach meanwhile.
"""

_FLAGS: Final = {
    "optimize": "O",
    "debug": "d",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "verbose": "v",
    "bytes_warning": "b",
    "quiet": "q",
}
_ISOLATING: Final = {"ignore_environment": "E", "no_user_site": "s", "safe_path": "P"}
"""What -I implies, each by itself."""


def command() -> list[str]:
    """The command line of a core process, less the descriptor of the file of its brief.

    Raises:
        CoreStartError: There is no interpreter to start, or starting it would start the
            application anew.
    """
    if os.environ.get(BOOT_VARIABLE):
        raise CoreStartError(
            f"this process was started to be a core process, but {sys.executable!r} has run the "
            "application anew, which now starts core processes itself. An application that brings "
            "its own interpreter calls tokengate_mp.freeze_support() first of all, or names a "
            "Python by multiprocessing.set_executable(path)."
        )
    executable = _executable()
    if getattr(sys, "frozen", False) and executable == sys.executable:
        if not this_process.supports_freezing:
            raise CoreStartError(
                "a frozen application is started anew for each core process: call "
                "tokengate_mp.freeze_support() first of all in its main module, before anything "
                "that only the application itself is to do."
            )
        return [executable, CORE_ARGUMENT]
    return [executable, *_options(), "-c", _BOOT]


def arguments() -> list[str]:
    """`sys.argv` for a core process; as for an interpreter without a script where there is none."""
    given = getattr(sys, "argv", None)
    return [_text(each) for each in given] if isinstance(given, list | tuple) else [""]


def _text(argument: Any) -> str:
    if isinstance(argument, str):
        return str.__str__(argument)
    if isinstance(argument, bytes | os.PathLike):
        return os.fsdecode(argument)
    return str(argument)


def _executable() -> str:
    """The interpreter: that of `multiprocessing.set_executable`, else that of this process.

    Raises:
        CoreStartError: Neither is known.
    """
    executable: str | bytes | None = getattr(sys, "executable", None)
    spawn: Any = sys.modules.get("multiprocessing.spawn")
    if spawn is not None:  # who has called set_executable has loaded it
        executable = spawn.get_executable() or executable
    if not executable:
        raise CoreStartError(
            "the interpreter of this process is not known: it is embedded in another program, and "
            "sys.executable is empty. Name a Python that has the same packages by "
            "multiprocessing.set_executable(path)."
        )
    return os.fsdecode(executable)


def _options() -> Iterator[str]:
    """The options that the interpreter of this process was started with.

    (`subprocess` has such a function, not public, that leaves out most of the -X options.)
    """
    flags = sys.flags
    for name, letter in _FLAGS.items():
        if count := int(getattr(flags, name)):
            yield "-" + letter * count
    if flags.isolated:
        yield "-I"
    else:
        yield from (f"-{letter}" for name, letter in _ISOLATING.items() if getattr(flags, name))
    for option in sys.warnoptions:
        yield f"-W{option}"
    for name, value in sys._xoptions.items():  # noqa: SLF001 - documented, as CPython's own
        yield from ("-X", name if value is True else f"{name}={value}")
