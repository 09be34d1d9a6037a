"""Starting a core process.

It is a fresh interpreter, not a fork: a fork of a process with threads copies locks that nobody
will release. It does not import the user's `__main__` either, so a script needs no guard. It begins
with the coordinator's `Surroundings`, and inherits of the parent's descriptors only those it needs.
What it is told comes in a file, as a command line has its limits.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from multiprocessing import process

import msgspec

from tokengate_mp.config.settings import CoordinatorSettings
from tokengate_mp.cores.surroundings import Surroundings
from tokengate_mp.cores.unnamed_file import unnamed_file
from tokengate_mp.descendants import kill_with_descendants
from tokengate_mp.errors import CoreStartError
from tokengate_mp.tokens.token import id_prefix
from tokengate_mp.wire.arena.arena import ArenaAddress
from tokengate_mp.wire.channel.mailbox import Mailbox
from tokengate_mp.wire.protocol.brief import MARSHAL_VERSION, CoreBrief, OutputBrief
from tokengate_mp.wire.protocol.output import PIPE_BYTES

_processes = count(1)
"""Numbers for core processes: those of the tokens that are made in them are derived from these."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A core process that was started, and the parent's ends of its descriptors.

    Attributes:
        process: The process.
        mailbox: Its mailbox.
        control: Socket for control messages.
        lifeline: Descriptor whose closing ends the process.
        voice: Descriptor of what it prints and logs.
    """

    process: subprocess.Popen[bytes]
    mailbox: Mailbox
    control: socket.socket
    lifeline: int
    voice: int

    def kill(self) -> None:
        """Kill the process, unless it was waited for, with the commands that it has started."""
        if self.process.returncode is None:
            kill_with_descendants(self.process.pid)

    def close(self) -> None:
        """Give up the descriptors and the memory, which kills a process that still lives."""
        os.close(self.lifeline)
        os.close(self.voice)
        self.control.close()
        self.mailbox.close_mailbox()


def launch(
    core: int,
    settings: CoordinatorSettings,
    surroundings: Surroundings,
    arena: ArenaAddress | None = None,
) -> Launched:
    """Start a process for a core.

    Args:
        core: The core's number.
        settings: The coordinator's settings.
        surroundings: What the process begins with.
        arena: Where what is large goes; None: with all else.

    Raises:
        CoreStartError: There is no memory for its mailbox, or no process can be started.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        mailbox = Mailbox.create(settings.ring_bytes)
        ours.callback(mailbox.close_mailbox)
        try:
            near, far = socket.socketpair()
            ours.callback(near.close)
            theirs.callback(far.close)
            lifeline_end, lifeline = os.pipe()
            ours.callback(os.close, lifeline)
            theirs.callback(os.close, lifeline_end)
            voice, voice_end = os.pipe()
            ours.callback(os.close, voice)
            theirs.callback(os.close, voice_end)
            _widen(voice)
            brief = CoreBrief(
                core=core,
                process=next(_processes),
                worker=next(process._process_counter),  # type: ignore[attr-defined]  # noqa: SLF001 - no other worker has its number
                tracker=surroundings.tracker,
                shared=surroundings.brief,
                directory=surroundings.directory,
                prefix=id_prefix(),
                cpu=settings.pins[core - 1],
                memory_limit=settings.memory_limit,
                writable=settings.writable,
                threads=settings.threads_per_core,
                grace=settings.grace,
                sigint_blocked=signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()),
                mailbox=mailbox.address,
                control=far.fileno(),
                lifeline=lifeline_end,
                output=OutputBrief(voice_end, settings.output == "forward"),
                initializer=settings.initializer,
                arena=arena,
            )
            started = _start(brief, surroundings, settings.inherited)
        except (OSError, ValueError) as error:
            raise CoreStartError(f"core {core} cannot be started: {error}") from error
        near.setblocking(False)  # a control message must never hold up the event loop
        ours.pop_all()  # it runs: from now on they are closed with it
        os.set_blocking(voice, False)
        return Launched(started, mailbox, near, lifeline, voice)


def _widen(pipe: int) -> None:
    """Let a pipe hold more, as far as the system and the user's other pipes allow."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            return  # it holds what it holds


def _start(
    brief: CoreBrief, surroundings: Surroundings, inherited: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    words = msgspec.json.encode(brief), brief.directory, surroundings.path, surroundings.argv
    file = unnamed_file(marshal.dumps(words, MARSHAL_VERSION), "tokengate-brief")
    # It is in this process group: what a terminal sends reaches it, and what its functions start.
    # A Ctrl-C that comes before it has made up its mind about that waits until then.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            [*surroundings.command, str(file)],
            stdin=subprocess.DEVNULL,
            env=surroundings.environment,
            pass_fds=(file, *brief.fds, *inherited),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(file)
