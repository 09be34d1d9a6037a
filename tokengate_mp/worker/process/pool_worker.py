"""What `multiprocessing` says in a core process: that of a pool's worker.

The name of the process is no "MainProcess", it has a parent, and its authkey is the parent's. What
it registers with the resource tracker goes to the tracker of the parent, as segments and locks may
outlive a core process. `multiprocessing` is not loaded for that: it is told when it is.
"""

# ruff: noqa: SLF001 - `multiprocessing` has no public way to say what a process is

from __future__ import annotations

import os
import select
import socket
import sys
from functools import partial
from itertools import count
from typing import Any, Final

from tokengate_mp.wire.protocol.brief import CoreBrief, WorkerIdentity
from tokengate_mp.worker.process.imports import when_imported

TRACKER_SECONDS: Final = 5.0
"""How long the parent may take to hand over its resource tracker."""


def be_worker(brief: CoreBrief, identity: WorkerIdentity) -> None:
    """Let `multiprocessing` say that this process is a worker, once it is imported."""
    when_imported("multiprocessing.context", partial(_adopt_identity, brief, identity))
    when_imported("multiprocessing.resource_tracker", partial(_adopt_tracker, brief.tracker))


def _adopt_identity(brief: CoreBrief, identity: WorkerIdentity) -> None:
    from multiprocessing import context, process  # noqa: PLC0415 - ms, seldom needed

    # As its own `_bootstrap` does in a process that it has started.
    state: Any = process
    numbers = (*identity.numbers, brief.worker)
    worker: Any = context.SpawnProcess(name=f"SpawnProcess-{':'.join(map(str, numbers))}")
    worker._identity = numbers
    worker._parent_pid = os.getppid()
    worker._parent_name = identity.parent
    worker.authkey = identity.authkey
    state._process_counter = count(1)
    state._current_process = worker
    state._parent_process = state._ParentProcess(identity.parent, os.getppid(), brief.lifeline)
    if identity.start_method is not None:
        default: Any = context._default_context
        default.set_start_method(identity.start_method, force=True)


def _adopt_tracker(door: int) -> None:
    tracker: Any = sys.modules["multiprocessing.resource_tracker"]
    own = tracker._resource_tracker

    class ParentsTracker(type(own)):  # type: ignore[misc]  # known only now
        """The end, in this process, of the parent's resource tracker."""

        _known: int | None = None

        @property
        def _fd(self) -> int | None:
            """Descriptor of the tracker; asked for when it is first needed."""
            if self._known is None:
                self._known = _ask_for_tracker(door)
            return self._known

        @_fd.setter
        def _fd(self, fd: int | None) -> None:
            self._known = fd

        def __del__(self) -> None:
            """Leave the tracker alone at the end: it is the parent's."""

    own.__class__ = ParentsTracker


def _ask_for_tracker(door: int) -> int | None:
    """Ask the parent for its tracker; None: this process has to start one, which is said."""
    near, far = socket.socketpair()
    with near:
        try:
            with far, socket.socket(fileno=os.dup(door)) as asking:
                socket.send_fds(asking, [b"t"], [far.fileno()])
            answered = select.poll()
            answered.register(near, select.POLLIN)
            if answered.poll(TRACKER_SECONDS * 1000):
                _, fds, _, _ = socket.recv_fds(near, 1, 1)
                for fd in fds:
                    os.set_inheritable(fd, False)
                    return fd
        except OSError:  # it is at its end
            pass
    import warnings  # noqa: PLC0415

    warnings.warn(
        "the parent did not hand over its resource tracker, so this core process starts one of its "
        "own: shared memory that is opened here by name will not outlive the process",
        RuntimeWarning,
        stacklevel=2,
    )
    return None
