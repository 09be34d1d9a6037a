"""A multi-process, token-managed executor for CPU-heavy batch jobs.

    import asyncio
    from tokengate_mp import OperationsCoordinator, task_token_guard

    @task_token_guard(operation_type="square", tags={"weight": "light"})
    def square(n: int) -> int:
        return n * n

    async def main() -> None:
        async with OperationsCoordinator():
            print(await asyncio.gather(*(square(n) for n in range(10))))

    asyncio.run(main())

The names below are loaded when first used (PEP 562): a core process imports this package on the
way to `tokengate_mp.worker`, and to the decorator when it loads a user's module, and must not pay
for asyncio and the coordinator, which it never runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# First of all: it notes the directory that the program was started in.
from tokengate_mp import this_process as _this_process  # noqa: F401 - for what it notes

if TYPE_CHECKING:
    from tokengate_mp.bulk.completed import as_completed
    from tokengate_mp.bulk.gathering import gather
    from tokengate_mp.bulk.progress import Progress
    from tokengate_mp.bulk.token_map import TokenMap
    from tokengate_mp.calls.decorator import task_token_guard
    from tokengate_mp.calls.token_function import TokenFunction
    from tokengate_mp.config.circuit_breaker import CircuitBreaker
    from tokengate_mp.coordinator.coordinator import OperationsCoordinator
    from tokengate_mp.coordinator.shared import Shared
    from tokengate_mp.errors import (
        AdmissionRejected,
        CoordinatorNotRunning,
        CoordinatorRunning,
        CoreStartError,
        DependencyFailed,
        OperationBlocked,
        PayloadError,
        RemoteError,
        RemoteTraceback,
        TokenGateError,
        TokenKilled,
        TokenTimeout,
        WireError,
    )
    from tokengate_mp.executor.executor import TokenGateExecutor
    from tokengate_mp.integrations.registration import (
        register_joblib_backend,
        shutdown_joblib_backend,
    )
    from tokengate_mp.lifecycle import TokenState
    from tokengate_mp.tokens.token import Timing, Token
    from tokengate_mp.worker.frozen import freeze_support
    from tokengate_mp.worker_lost import InitializerFailed, WorkerLost

__version__ = "0.1.0"

_HOMES = {
    "OperationsCoordinator": "tokengate_mp.coordinator.coordinator",
    "CircuitBreaker": "tokengate_mp.config.circuit_breaker",
    "Shared": "tokengate_mp.coordinator.shared",
    "Timing": "tokengate_mp.tokens.token",
    "Token": "tokengate_mp.tokens.token",
    "TokenFunction": "tokengate_mp.calls.token_function",
    "task_token_guard": "tokengate_mp.calls.decorator",
    "as_completed": "tokengate_mp.bulk.completed",
    "gather": "tokengate_mp.bulk.gathering",
    "Progress": "tokengate_mp.bulk.progress",
    "TokenMap": "tokengate_mp.bulk.token_map",
    "TokenGateExecutor": "tokengate_mp.executor.executor",
    "TokenState": "tokengate_mp.lifecycle",
    "register_joblib_backend": "tokengate_mp.integrations.registration",
    "shutdown_joblib_backend": "tokengate_mp.integrations.registration",
    "AdmissionRejected": "tokengate_mp.errors",
    "CoordinatorNotRunning": "tokengate_mp.errors",
    "CoordinatorRunning": "tokengate_mp.errors",
    "CoreStartError": "tokengate_mp.errors",
    "DependencyFailed": "tokengate_mp.errors",
    "OperationBlocked": "tokengate_mp.errors",
    "PayloadError": "tokengate_mp.errors",
    "RemoteError": "tokengate_mp.errors",
    "RemoteTraceback": "tokengate_mp.errors",
    "TokenGateError": "tokengate_mp.errors",
    "TokenKilled": "tokengate_mp.errors",
    "TokenTimeout": "tokengate_mp.errors",
    "WireError": "tokengate_mp.errors",
    "InitializerFailed": "tokengate_mp.worker_lost",
    "WorkerLost": "tokengate_mp.worker_lost",
    "freeze_support": "tokengate_mp.worker.frozen",
}

__all__ = [
    "AdmissionRejected",
    "CircuitBreaker",
    "CoordinatorNotRunning",
    "CoordinatorRunning",
    "CoreStartError",
    "DependencyFailed",
    "InitializerFailed",
    "OperationBlocked",
    "OperationsCoordinator",
    "PayloadError",
    "Progress",
    "RemoteError",
    "RemoteTraceback",
    "Shared",
    "Timing",
    "Token",
    "TokenFunction",
    "TokenGateError",
    "TokenGateExecutor",
    "TokenKilled",
    "TokenMap",
    "TokenState",
    "TokenTimeout",
    "WireError",
    "WorkerLost",
    "as_completed",
    "freeze_support",
    "gather",
    "register_joblib_backend",
    "shutdown_joblib_backend",
    "task_token_guard",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
