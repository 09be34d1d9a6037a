"""Entry of a core process.

The process is started by running the interpreter on `main` with the descriptors it needs and a
file of settings (`wire.protocol.brief`), and ends when it is told to, or at once when the parent is
gone.

The main thread is the first thread of the crew (what a user's function may only do there, like
setting a signal handler, works with one thread per core). Control messages have a descriptor and a
thread of their own, so that a crew that is busy, or stuck, can still be told something; the same
thread is the watchdog.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from tokengate_mp import this_process
from tokengate_mp.wire.arena.arena import CoreArena
from tokengate_mp.wire.channel.doorbell import Doorbell, new_doorbell
from tokengate_mp.wire.channel.mailbox import READY, Mailbox
from tokengate_mp.wire.payload.buffers import copy_all
from tokengate_mp.wire.protocol.brief import CoreBrief, SharedBrief, read_shared
from tokengate_mp.wire.protocol.control import (
    BROKEN,
    END,
    LEAVE,
    NUMBER_BYTES,
    ORPHANED,
    RECALL,
    STOP,
    token_number,
)
from tokengate_mp.worker.crew.control import CrewControl
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.crew.watchdog import Watchdog
from tokengate_mp.worker.ending import OrdinaryEnd, flush_files, read_message
from tokengate_mp.worker.nested.calls import Calls
from tokengate_mp.worker.output.forwarding import forward_output
from tokengate_mp.worker.process.dispositions import leave_ctrl_c_to_parent
from tokengate_mp.worker.process.pool_worker import be_worker
from tokengate_mp.worker.run.main_module import adopt_main
from tokengate_mp.worker.run.memory_limit import limit_memory
from tokengate_mp.worker.run.pinning import pin, yield_to_the_parent

SWITCH_SECONDS: Final = 0.001
"""How long a thread that wants to compute waits for one that does.

Python's own 5 ms are so long because threads that all compute take turns by it, and each turn costs
something. Here one thread computes, and the other that wants to is most often the control thread,
which has an item or a token to end, or something to give to a core that is idle.
"""


def main(brief_json: bytes) -> None:
    """Run a core process until its parent ends the process."""
    brief = msgspec.json.decode(brief_json, type=CoreBrief)
    leave_ctrl_c_to_parent(blocked=brief.sigint_blocked)
    _die_with_parent(brief.lifeline)
    if brief.cpu is not None:
        pin(brief.cpu)
    if brief.memory_limit is not None:
        limit_memory(brief.memory_limit)
    if brief.writable:
        copy_all()
    yield_to_the_parent()
    sys.setswitchinterval(SWITCH_SECONDS)
    # What a token starts must not keep these open after this process is gone.
    for fd in brief.fds:
        os.set_inheritable(fd, False)
    atexit.register(flush_files)  # first of all, and so the last to run
    shared = _taken_in(brief)
    adopt_main(shared.main)
    be_worker(brief, shared.identity)
    mailbox = Mailbox.attach(brief.mailbox)
    output = forward_output(brief.output, shared, brief.core, brief.prefix, mailbox.words)
    arena = None if brief.arena is None else CoreArena(brief.arena)
    this_process.open_core(brief.core, arena)
    if brief.initializer is not None:
        from tokengate_mp.worker.run.initializer import initialize  # noqa: PLC0415 - few have one

        initialize(brief.initializer, brief.control)
    watchdog_bell = new_doorbell()
    crew = Crew(mailbox, brief.threads, watchdog_bell, brief.prefix)
    output.pipe.know_tokens(crew.here, crew.known.operation_of)
    this_process.open_calls(Calls(crew, brief.process, brief.prefix))
    control, watchdog = CrewControl(crew), Watchdog(crew)
    end = OrdinaryEnd(brief.core, brief.grace, crew, output)
    _thread("control", partial(_serve, brief.control, control, watchdog, watchdog_bell, end))
    for slot in range(1, brief.threads):
        end.threads.append(_thread(f"crew-{slot}", partial(crew.serve, slot)))
    mailbox.words[READY] = 1
    mailbox.outcomes.ring()
    _or_die(partial(crew.serve, 0))
    end.come_out()


def _taken_in(brief: CoreBrief) -> SharedBrief:
    """Read what all processes of the coordinator are told, and close what was for the start."""
    shared = read_shared(brief.shared)
    os.close(brief.shared)
    if brief.directory is not None:
        os.close(brief.directory)
    for name, value in shared.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return shared


def _thread(name: str, body: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=_or_die, args=(body,), name=f"tokengate-{name}", daemon=True)
    thread.start()
    return thread


def _or_die(body: Callable[[], None]) -> None:
    """Run `body`; should that raise, the whole process dies, and the parent starts another.

    A user's exception never gets here. This is for what should not happen: a process that went on
    without one of its threads would leave tokens for ever unanswered.
    """
    try:
        body()
    except BaseException:
        import logging  # noqa: PLC0415 - too late for start-up time to matter

        logging.getLogger(__name__).exception("core process %d cannot go on", os.getpid())
        logging.shutdown()
        os._exit(BROKEN)


def _die_with_parent(lifeline: int) -> None:
    """Let the kernel kill this process when the parent's end of `lifeline` is closed.

    The control thread notices too, but it needs the GIL for that, which a token stuck in C code
    may never give back. Unlike PR_SET_PDEATHSIG this does not follow the thread that started
    the process, and needs no ctypes. Elsewhere the control thread has to do.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    # The parent may have died before this was set up.
    waiting = select.poll()
    waiting.register(lifeline, select.POLLIN)
    if waiting.poll(0):
        os._exit(ORPHANED)


def _serve(
    socket: int,
    control: CrewControl,
    watchdog: Watchdog,
    watchdog_bell: Doorbell,
    end: OrdinaryEnd,
) -> None:
    """Body of the control thread: messages of the parent, and the watchdog's looks."""
    waiting = select.poll()
    waiting.register(socket, select.POLLIN)
    waiting.register(watchdog_bell.fd, select.POLLIN)
    pause: float | None = None
    while True:
        ready = waiting.poll(None if pause is None else pause * 1000)
        if not ready:
            pause = watchdog.look_at_crew()
            continue
        for fd, _event in ready:
            if fd != socket:
                watchdog_bell.silence()
                watchdog.resume_looks()
                pause = watchdog.look_at_crew()
                continue
            message = os.read(socket, 1)
            if message == RECALL:
                control.give_back()
            elif message == END:
                control.end_token(token_number(read_message(socket, NUMBER_BYTES)))
            elif message in {LEAVE, STOP}:
                end.see_to_it(socket, control, at_once=message == STOP)
            else:
                os._exit(ORPHANED)
