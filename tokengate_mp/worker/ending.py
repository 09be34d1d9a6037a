"""The ordinary end of a core process, which is the end of a Python program.

When the crew is told to stop, the main thread comes out of it and returns from `main`: then Python
waits for threads that are no daemons, runs what is registered with `atexit` (finalizers and
temporary directories among it), and lets go of what modules hold. Last of all, files that are still
open are flushed: some are held by something that nothing lets go of.

At a stop in the middle of tokens, what they run is interrupted, and the commands that they have
started are ended, so that the main thread can come out. Should it be kept by code that nothing
interrupts, the control thread runs what is registered with `atexit` in its place.

How long all that may take the parent decides, which kills the process after `grace`. A moment
before, the process says what keeps it.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import select
import sys
import threading
import time
from typing import Final, NoReturn

from tokengate_mp.descendants import kill_descendants
from tokengate_mp.wire.protocol.control import END, NUMBER_BYTES, ORPHANED, STOP
from tokengate_mp.worker.crew.control import CrewControl
from tokengate_mp.worker.crew.crew import Crew
from tokengate_mp.worker.output.forwarding import Forwarding

MOMENT: Final = 0.01
"""Seconds in which a thread of the crew says that it has done its token."""

STUCK_SECONDS: Final = 0.1
"""How long threads get to come out of their tokens, at a stop in the middle of tokens."""

JOIN_SECONDS: Final = 0.1
"""How long the end waits for the other threads of the crew, all of them together."""

WARN_SHARE: Final = 0.8
"""When the process says what keeps it: after so much of `grace`."""

_FILES: Final = (io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)


class OrdinaryEnd:
    """How a core process ends that was told to.

    Args:
        core: The number of the core.
        grace: Seconds that the end may take.
        crew: The crew of the process.
        output: What the process prints and logs.

    Attributes:
        threads: The threads of the crew, besides the main thread.
    """

    def __init__(self, core: int, grace: float, crew: Crew, output: Forwarding) -> None:
        self._core = core
        self._grace = grace
        self._crew = crew
        self._output = output
        self._out = threading.Event()
        self._turn = threading.Lock()  # of the thread that ends the process; never given back
        self._begun = 0.0
        self.threads: list[threading.Thread] = []
        atexit.register(self._let_go)

    # ---- the main thread

    def come_out(self) -> None:
        """Note that the main thread has left the crew, and wait a moment for the other threads.

        What they refer to lives on with them. Does not return if the control thread ends the
        process: what is registered with `atexit` runs once.
        """
        self._turn.acquire()
        self._out.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _let_go(self) -> None:
        if self._out.is_set():
            self._crew.functions.clear()

    # ---- the control thread

    def see_to_it(self, socket: int, control: CrewControl, *, at_once: bool) -> NoReturn:
        """Let the main thread end the process, and see to it meanwhile that it does.

        Args:
            socket: The control socket.
            control: Acts on the crew.
            at_once: Whether tokens may be running, which are to end.
        """
        self._begun = time.monotonic()
        control.stop_crew()
        if at_once:
            self._cut_short(control)
        waiting = select.poll()
        waiting.register(socket, select.POLLIN)
        left: float | None = self._grace * WARN_SHARE - (time.monotonic() - self._begun)
        while True:
            if not waiting.poll(None if left is None else max(0.0, left * 1000)):
                self._say_what_keeps_it()
                left = None
                continue
            message = os.read(socket, 1)
            if message == STOP:
                self._cut_short(control)
            elif message == END:
                read_message(socket, NUMBER_BYTES)  # that token has ended
            elif not message:
                os._exit(ORPHANED)

    def _cut_short(self, control: CrewControl) -> None:
        """End what is running, so that the main thread comes out; or else end the process here."""
        self._output.flush_all()
        if not control.is_idle(MOMENT):
            kill_descendants(os.getpid())
            control.interrupt_all()
            control.is_idle(STUCK_SECONDS)
        if not self._out.wait(STUCK_SECONDS) and self._turn.acquire(blocking=False):
            atexit._run_exitfuncs()  # noqa: SLF001 - no public way; `flush_files` is among them
            os._exit(0)

    def _say_what_keeps_it(self) -> None:
        """Log where the threads are that keep the process from its end."""
        import logging  # noqa: PLC0415 - only if something hangs
        import traceback  # noqa: PLC0415

        frames = sys._current_frames()  # noqa: SLF001 - documented, whatever its name
        main = threading.main_thread()
        places = [
            f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident]))}"
            for thread in threading.enumerate()
            if (thread is main or not thread.daemon) and thread.ident in frames
        ]
        logging.getLogger("tokengate_mp.worker").warning(
            "core %d: process %d was told to end %.3g s ago, and is killed after %.3g s (`grace`). "
            "It waits here:\n%s",
            self._core,
            os.getpid(),
            time.monotonic() - self._begun,
            self._grace,
            "\n".join(places),
        )


def flush_files() -> None:
    """Flush every file of the process that is open for writing."""
    for thing in gc.get_objects():
        if issubclass(type(thing), _FILES):
            try:
                if not thing.closed and thing.writable():
                    thing.flush()
            except Exception:  # noqa: BLE001, S112 - full, detached, or a class of the user's
                continue


def read_message(socket: int, size: int) -> bytes:
    """Read the rest of a control message, which a stream may break anywhere."""
    read = b""
    while len(read) < size:
        piece = os.read(socket, size - len(read))
        if not piece:
            os._exit(ORPHANED)
        read += piece
    return read
