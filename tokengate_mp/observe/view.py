"""A frozen view of one engine at one moment, for observers in any thread.

A view consists of atomic reads alone: of single attributes, and of copies that one call of C code
makes. Taking a view asks no loop and takes no lock, so that can be done while the engine's loop is
blocked, and delays no token. In the engine's own thread all counts add up; in another thread they
may be off by the few tokens that moved meanwhile. (A reader derives each number from one field, and
takes a difference for 0 if it is negative.)
"""

from __future__ import annotations

from dataclasses import dataclass

from tokengate_mp.ports import CoreFacts
from tokengate_mp.scheduling.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class CoreStatus:
    """The processes of a core.

    Attributes:
        core: The number of the core, from 1.
        cpu: The CPU that its processes are pinned to; None if they are not pinned.
        facts: The process that gets the core's tokens; None if there is none.
        processes: How many processes have a seat: a relieved one that drains is one more.
        running: Numbers of the tokens that threads of all these processes have begun.
        restarts: How many processes were started after one had ended by itself.
        recycled: How many processes were replaced while they were well.
        dropped: How many pieces of output and log records were dropped, for want of room.
    """

    core: int
    cpu: int | None
    facts: CoreFacts | None
    processes: int
    running: frozenset[int]
    restarts: int
    recycled: int
    dropped: int


@dataclass(frozen=True, slots=True)
class EngineView:
    """An engine.

    Attributes:
        taken: When the view was taken, monotonic ns.
        last_turn: When the engine's last turn ended, monotonic ns; 0 before the first. While tokens
            are pending and this is long ago, the loop is blocked.
        created: Tokens whose calls were made since the last turn.
        counts: What the scheduler counts.
        cores: Every core, core 1 first.
        argument_bytes: Shared memory that arguments take.
        result_bytes: Shared memory that results take.
        shared_limit: Shared memory that both may take together, bytes.
    """

    taken: int
    last_turn: int
    created: int
    counts: Snapshot
    cores: tuple[CoreStatus, ...]
    argument_bytes: int
    result_bytes: int
    shared_limit: int
