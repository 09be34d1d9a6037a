"""What child processes inherit in multiprocessing's way: locks, queues, shared memory, pipes.

These have reducers of multiprocessing's own, which work while a child process is being started.
Its semaphores travel by their names. In a context that forks, which is the default of Linux before
Python 3.14, they have none: such a semaphore gets one here, when it is first sent. It is another
semaphore then. So a lock has to be free at that moment, and no process may have been forked that
would go on with the former.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any, Final

from tokengate_mp.wire.payload.pickle_format import PROTOCOL

_ADVICE: Final = (
    "make it with `multiprocessing.get_context('spawn')`, whose locks other processes can find"
)


def reducers() -> dict[type, Callable[[Any], Any]]:
    """Return the reducer of each type that child processes inherit, as far as loaded by now."""
    from multiprocessing.reduction import ForkingPickler  # noqa: PLC0415 - ms, seldom needed

    found = dict(ForkingPickler(io.BytesIO(), PROTOCOL).dispatch_table)
    for module, names, reduce in (
        ("synchronize", ("Lock", "RLock", "Semaphore", "BoundedSemaphore"), _reduce_semaphore),
        ("synchronize", ("Condition",), _reduce_condition),
        ("queues", ("Queue", "JoinableQueue"), _reduce_queue),
    ):
        loaded = sys.modules.get(f"multiprocessing.{module}")
        if loaded is not None:
            found.update({getattr(loaded, name): reduce for name in names})
    shared = sys.modules.get("multiprocessing.sharedctypes")
    if shared is not None:
        kinds = shared.Synchronized, shared.SynchronizedArray, shared.SynchronizedString
        found.update(dict.fromkeys((*kinds, *shared.class_cache.values()), _reduce_synchronized))
    return found


def _reduce_semaphore(semaphore: Any) -> Any:
    _name(semaphore)
    return semaphore.__reduce_ex__(PROTOCOL)


def _reduce_condition(condition: Any) -> Any:
    if condition._sleeping_count._semlock._get_value():  # noqa: SLF001 - it has no other face
        raise pickle.PicklingError(f"{type(condition).__name__} that is waited for: {_ADVICE}")
    _name(condition._lock)  # noqa: SLF001 - likewise
    condition._make_methods()  # noqa: SLF001 - which were those of the former semaphore
    return condition.__reduce_ex__(PROTOCOL)


def _reduce_queue(queue: Any) -> Any:
    if queue._wlock._semlock.name is None and queue._thread is not None:  # noqa: SLF001 - likewise
        raise pickle.PicklingError(f"a queue that something was put into already: {_ADVICE}")
    return queue.__reduce_ex__(PROTOCOL)


def _reduce_synchronized(value: Any) -> Any:
    lock = value.get_lock()
    if hasattr(lock, "_semlock"):  # the program may have given it any
        _name(lock)
        value.acquire, value.release = lock.acquire, lock.release
    return value.__reduce__()


def _name(owner: Any) -> None:
    """Give a semaphore of a context that forks a name.

    Raises:
        pickle.PicklingError: It is in use.
    """
    from multiprocessing import resource_tracker, synchronize, util  # noqa: PLC0415 - are loaded
    from multiprocessing.process import active_children  # noqa: PLC0415 - likewise

    former = owner._semlock  # noqa: SLF001 - it has no other face
    if former.name is not None:
        return
    if former.maxvalue == 1 and former._is_zero():  # noqa: SLF001 - likewise
        raise pickle.PicklingError(f"a lock that is held: release it before, or {_ADVICE}")
    if any(getattr(child._popen, "method", None) == "fork" for child in active_children()):  # type: ignore[attr-defined]  # noqa: SLF001 - likewise
        raise pickle.PicklingError(
            f"{type(owner).__name__} that a process may have which was forked: {_ADVICE}"
        )
    kind: Any = synchronize.SemLock
    name = kind._make_name()  # noqa: SLF001 - as its own constructor does
    semaphore = type(former)(former.kind, former._get_value(), former.maxvalue, name, False)  # noqa: SLF001 - likewise
    resource_tracker.register(name, "semaphore")
    util.Finalize(owner, kind._cleanup, (name,), exitpriority=0)  # noqa: SLF001 - likewise
    owner._semlock, owner._is_fork_ctx = semaphore, False  # noqa: SLF001 - likewise
    owner._make_methods()  # noqa: SLF001 - likewise
