"""What calls of joblib's Parallel do in these tests. Core processes import it, and it no joblib."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings

import gates


def half(number):
    """Refuse odd numbers."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def die():
    """End this process as the kernel would."""
    os.kill(os.getpid(), signal.SIGKILL)


def loaded(name):
    """Whether a module is loaded in this process."""
    return name in sys.modules


def within(count, **options):
    """Run a Parallel within a call, joblib being loaded by the call itself."""
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=count, **options)
    inner = parallel(delayed(_here)() for _ in range(count))
    return os.getpid(), type(parallel._backend).__name__, inner


def _here():
    from joblib.parallel import get_active_backend

    return os.getpid(), threading.current_thread().name, type(get_active_backend()[0]).__name__


def jobs_within():
    """Give what n_jobs=-1 comes to within a call."""
    from joblib import effective_n_jobs

    return effective_n_jobs(-1)


def variable(name):
    """Give a variable of this process's environment."""
    return os.environ.get(name)


def set_variable(name, value):
    """Set a variable of this process's environment."""
    os.environ[name] = value


def threads_and_cpus():
    """Give what numeric libraries are told, and how many CPUs this thread may use."""
    return os.environ.get("OMP_NUM_THREADS"), len(os.sched_getaffinity(0))


def take(*_args, **_kwargs):
    """Take anything, as an initializer or a call."""


def interrupt_at_two(number):
    """Raise what Ctrl-C would."""
    if number == 2:
        raise KeyboardInterrupt("at 2")
    return number


def effective(backend, jobs):
    """How many jobs a Parallel has here that asks for so many."""
    import joblib

    import tokengate_mp

    tokengate_mp.register_joblib_backend()
    with joblib.parallel_config(backend, n_jobs=jobs):
        return joblib.effective_n_jobs(jobs)


def warned_within(backend, jobs):
    """How many jobs a Parallel has here, and whether it warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = effective(backend, jobs)
    return found, any("nested" in str(each.message) for each in caught)


def hold(address):
    """Wait at a gate in pieces, so that it can be interrupted between them."""
    gates.report_to(address)
    while True:
        time.sleep(0.01)
