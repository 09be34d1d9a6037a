"""The brief: the settings that a core process gets on its command line."""

from __future__ import annotations

import msgspec

from tokengate_mp.wire.arena.arena import ArenaAddress
from tokengate_mp.wire.channel.mailbox import MailboxAddress


class OutputBrief(msgspec.Struct, frozen=True):
    """Where printed text and log records of a core process go.

    Attributes:
        fd: Descriptor of the pipe to the parent.
        streams: Whether `sys.stdout` and `sys.stderr` go there; else they are the parent's own.
        levels: The level of each logger of the parent that has one; that of the root is at "".
        disabled: Up to which level logging is disabled in the parent.
    """

    fd: int
    streams: bool
    levels: dict[str, int]
    disabled: int


class CoreBrief(msgspec.Struct, frozen=True):
    """The settings of a core process.

    Attributes:
        core: The number of its core.
        process: How many core processes were started before this one, plus one.
        prefix: The beginning of the ids of tokens.
        cpu: The CPU to run on; None for any.
        threads: Crew threads.
        mailbox: Descriptors of its mailbox.
        control: Descriptor of the control socket.
        lifeline: Descriptor that reaches its end when the parent is gone.
        output: Where printed text and log records go.
        initializer: Descriptor of a file with the packed initializer (see `initializer`); None for
            none.
        arena: The arena for large payloads; None: they travel by the ring like all others.
    """

    core: int
    process: int
    prefix: str
    cpu: int | None
    threads: int
    mailbox: MailboxAddress
    control: int
    lifeline: int
    output: OutputBrief
    initializer: int | None = None
    arena: ArenaAddress | None = None

    @property
    def fds(self) -> tuple[int, ...]:
        """Every descriptor that the process inherits."""
        needed = (*self.mailbox.fds, self.control, self.lifeline, self.output.fd)
        if self.initializer is not None:
            needed = (*needed, self.initializer)
        return needed if self.arena is None else (*needed, self.arena.fd)
