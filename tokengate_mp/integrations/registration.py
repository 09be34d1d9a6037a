"""What a user calls to have joblib work here, and to end what was started for it."""

from __future__ import annotations

from importlib import import_module

from tokengate_mp import this_process
from tokengate_mp.integrations import reserve


def register_joblib_backend(*, make_default: bool = False) -> None:
    """Make the joblib backend "tokengate" known.

        tokengate_mp.register_joblib_backend()
        with joblib.parallel_config(backend="tokengate", n_jobs=-1):
            results = joblib.Parallel()(joblib.delayed(f)(x) for x in data)

    The core processes are started by the first `Parallel` and kept for further ones. May be called
    again.

    Args:
        make_default: Whether a `Parallel` that names no backend uses it too.

    Raises:
        ImportError: joblib is not installed.
    """
    try:
        from joblib import register_parallel_backend  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "joblib":
            raise
        raise ImportError(
            "register_joblib_backend() needs joblib, which is not installed: "
            "pip install 'tokengate_mp[joblib]'",
            name="joblib",
        ) from error
    if this_process.core is None:
        # Now, so that the first `Parallel` does not have to wait for it; and before the backend,
        # which at exit ends what executors would wait for.
        import_module("tokengate_mp.executor.executor")
    from tokengate_mp.integrations.joblib_backend import NAME, TokenGateBackend  # noqa: PLC0415

    register_parallel_backend(NAME, TokenGateBackend, make_default=make_default)


def shutdown_joblib_backend() -> None:
    """End the core processes that are kept for the next `Parallel`, and wait for that.

    Those of a `Parallel` that still runs are not kept when it ends. The next `Parallel` starts its
    own.
    """
    reserve.clear()
