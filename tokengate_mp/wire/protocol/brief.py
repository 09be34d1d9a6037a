"""The brief: the settings that a core process reads from a file when it starts.

The file holds, written by `marshal`: the encoded `CoreBrief`, the descriptor of the working
directory (None: where the process is), the module search path, and the arguments of the parent's
program. Its own descriptor is the last argument of the process.

What all processes of a coordinator are told alike stands in a file without a name that each of them
inherits, the `SharedBrief`. (Command lines have their limits, and are for everybody to read.)
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from tokengate_mp.wire.arena.arena import ArenaAddress
from tokengate_mp.wire.channel.mailbox import MailboxAddress

MARSHAL_VERSION: Final = 2
"""A format that every Python has: the interpreter of a core process may be a later one."""

BOOT_VARIABLE: Final = "TOKENGATE_MP_BOOT"
"""Environment variable of a process that is to become a core process, until that has begun.

A program that finds this variable when it starts core processes was started itself in place of an
interpreter.
"""

CORE_ARGUMENT: Final = "--tokengate-core"
"""The first argument of a frozen application that is to be a core process."""


class OutputBrief(msgspec.Struct, frozen=True):
    """Where printed text and log records of a core process go.

    Attributes:
        fd: Descriptor of the pipe to the parent.
        streams: Whether `sys.stdout` and `sys.stderr` go there; else they are the parent's own.
    """

    fd: int
    streams: bool


class WorkerIdentity(msgspec.Struct, frozen=True):
    """What `multiprocessing` in a core process says of the process.

    Attributes:
        parent: The name of the parent.
        numbers: The numbers by which the parent is told from other workers.
        authkey: The key of the parent's managers and listeners.
        start_method: The start method that was set in the parent; None for none.
    """

    parent: str
    numbers: tuple[int, ...]
    authkey: bytes
    start_method: str | None


class MainBrief(msgspec.Struct, frozen=True):
    """What `__main__` in a core process says of itself: the same as the parent's.

    Attributes:
        file: Its `__file__`; None for none.
        doc: Its docstring.
        package: Its `__package__`.
        spec: The name in its `__spec__`, for a module that is run by `-m`; None for a script.
    """

    file: str | None
    doc: str | None
    package: str | None
    spec: str | None


class SharedBrief(msgspec.Struct, frozen=True):
    """What all core processes of a coordinator are told alike.

    Attributes:
        levels: The level of each logger of the parent that has one; that of the root is at "".
        disabled: Up to which level logging is disabled in the parent.
        level_names: Names of log levels that are not those of `logging` itself.
        identity: What `multiprocessing` says of the process.
        main: What `__main__` says of itself.
        environment: Variables that were for the interpreter alone, with the values that they have
            in the parent; None for none.
    """

    levels: dict[str, int]
    disabled: int
    level_names: dict[int, str]
    identity: WorkerIdentity
    main: MainBrief
    environment: dict[str, str | None]


encode_shared = msgspec.msgpack.Encoder().encode
"""A `SharedBrief` as bytes."""


def read_shared(fd: int) -> SharedBrief:
    """Read the file of a `SharedBrief`, which other processes read as well."""
    # Not by read(): all processes share one position in the file.
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    return msgspec.msgpack.decode(content, type=SharedBrief)


class CoreBrief(msgspec.Struct, frozen=True):
    """The settings of a core process.

    Attributes:
        core: The number of its core.
        process: How many core processes were started before this one, plus one.
        worker: The number of the process among all that `multiprocessing` has started.
        tracker: Descriptor of a socket at which to ask for the parent's resource tracker.
        shared: Descriptor of the file with the `SharedBrief`.
        directory: Descriptor of the working directory; None for the one it is in.
        prefix: The beginning of the ids of tokens.
        cpu: The CPU to run on; None for any.
        threads: Crew threads.
        grace: Seconds that the process may take to end.
        sigint_blocked: Whether SIGINT is blocked in the parent; until it is up, it is blocked.
        mailbox: Descriptors of its mailbox.
        control: Descriptor of the control socket.
        lifeline: Descriptor that reaches its end when the parent is gone.
        output: Where printed text and log records go.
        initializer: Descriptor of a file with the packed initializer (see `initializer`); None for
            none.
        arena: The arena for large payloads; None: they travel by the ring like all others.
        memory_limit: Bytes that the process may have for itself; None for any number.
        writable: Whether large arguments and results are copied, so that they can be changed.
    """

    core: int
    process: int
    worker: int
    tracker: int
    shared: int
    directory: int | None
    prefix: str
    cpu: int | None
    threads: int
    grace: float
    sigint_blocked: bool
    mailbox: MailboxAddress
    control: int
    lifeline: int
    output: OutputBrief
    initializer: int | None = None
    arena: ArenaAddress | None = None
    memory_limit: int | None = None
    writable: bool = False

    @property
    def fds(self) -> tuple[int, ...]:
        """Every descriptor that the process inherits."""
        needed = (
            *self.mailbox.fds,
            self.control,
            self.lifeline,
            self.output.fd,
            self.shared,
            self.tracker,
        )
        if self.directory is not None:
            needed = (*needed, self.directory)
        if self.initializer is not None:
            needed = (*needed, self.initializer)
        return needed if self.arena is None else (*needed, self.arena.fd)
