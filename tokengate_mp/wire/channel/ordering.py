"""The order of memory operations: what CPUs promise, and what stands in for a fence.

Two processes that share memory see each other's stores in an order that the CPU decides on.

x86-64 lets everybody see the stores of one CPU in program order, and never moves a load before an
older load, nor a store before an older load. So what is written before a word that says so is there
once the word is seen. One thing it does not promise: a load may be done while an *older store* of
the same CPU still waits in its store buffer.

Other CPUs (ARM64, RISC-V, POWER …) promise nothing of the kind for ordinary loads and stores, and
ordinary ones are all that pure Python has. There, rings are *checked*: checksums tell whether what
should be there is there (see `ring`).

Where a store has to be seen before a later load is done, there is `full_fence`.
"""

from __future__ import annotations

import os
import threading
from typing import Final

CHECKED_VARIABLE: Final = "TOKENGATE_MP_CHECKED"
"""Environment variable: anything but empty or "0" forces checked rings where no CPU needs them."""

STRONGLY_ORDERED: Final = os.uname().machine.lower() in {"x86_64", "amd64"}
"""Whether this CPU promises what x86-64 promises."""


def must_check() -> bool:
    """Whether rings have to be checked on the machine, or by its environment."""
    return not STRONGLY_ORDERED or os.environ.get(CHECKED_VARIABLE, "0") not in {"", "0"}


_new_lock = threading.Lock


def _fence_of_one() -> None:
    # A new lock: nobody waits for it if Ctrl-C comes here.
    _new_lock().acquire()


def _fence_of_two() -> None:
    lock = _new_lock()
    lock.acquire()
    lock.release()
    lock.acquire()


full_fence = _fence_of_one if STRONGLY_ORDERED else _fence_of_two
"""What stands before a call of it is visible to all before anything behind it is done.

Python has no fence, but its locks are made of atomic operations. On x86-64 every such operation is
a full fence: taking the lock is enough. Elsewhere, taking a lock only keeps what follows behind it,
and giving it back keeps only what came before in front of it, so that both may meet *inside*, in
any order. Nothing, however, passes a release that is followed by an acquire (ARM64 keeps those two
in order): what came before is in front of the first pair's release, what follows is behind the
second pair's acquire. POWER does not keep them in order, which is one reason why a core process
sleeps no longer than `doorbell.MAX_SLEEP`.

(The lock is seen by nobody else. What counts is the order that taking and giving it back keeps.)
"""
