"""The registry of operations: the one door of scheduling that any thread may use.

A call is made in the caller's thread. There it needs its operation (declared by the first call of
that name, weight and policy), and the consent of the operation's breaker. All else about a token
happens in the engine's thread, and by way of `Scheduler`.

What is declared here is never taken back. Each flag is set before the operation is found that it is
about: so the scheduler, which reads flags in its own thread, knows of a time limit or a chain
before the first token comes that has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from tokengate_mp.config.circuit_breaker import CircuitBreaker
from tokengate_mp.config.options import Policy, Weight
from tokengate_mp.scheduling.model.breaker import Breaker
from tokengate_mp.scheduling.model.concurrency_limit import ConcurrencyLimit
from tokengate_mp.scheduling.model.operation import Operation
from tokengate_mp.scheduling.policy.breakers import Breakers

_NO_TAGS: Mapping[str, Any] = {}


class OperationRegistry:
    """All operations of a coordinator. Every method is thread-safe.

    Args:
        threads: Crew threads of each core.
        guard: Entered around each change. The thread that has it may enter it again: declaring may
            run code of the user's (names are hashed and compared, and memory is collected), which
            may make a call. A test with one thread needs none.

    Attributes:
        breakers: Refuses calls of operations whose tokens fail too often.
        any_timed: Whether any operation has a time limit.
        any_leading: Whether tokens of any operation lead chains.
        any_limited: Whether cores may hold only so many tokens of any operation.
    """

    __slots__ = (
        "_breakers_declared",
        "_by_key",
        "_guard",
        "_limits",
        "_limits_declared",
        "_threads",
        "any_leading",
        "any_limited",
        "any_timed",
        "breakers",
    )

    def __init__(self, threads: int, guard: AbstractContextManager[Any] | None = None) -> None:
        self._threads = threads
        self._guard: AbstractContextManager[Any] = nullcontext() if guard is None else guard
        self._by_key: dict[tuple[str, Weight, Policy | None], Operation] = {}
        self._limits: dict[str, ConcurrencyLimit] = {}
        self._limits_declared: dict[str, int | None] = {}
        self._breakers_declared: dict[str, CircuitBreaker | None] = {}
        self.breakers = Breakers(self._guard)
        self.any_timed = False
        self.any_leading = False
        self.any_limited = False

    def declare(
        self,
        name: str,
        weight: Weight,
        policy: Policy | None = None,
        *,
        divisible: bool = False,
        tags: Mapping[str, Any] = _NO_TAGS,
    ) -> Operation:
        """The operation of a name, weight and policy, made when first declared.

        Args:
            name: The operation_type.
            weight: Its weight class.
            policy: What is to be done about tokens that take too long or fail.
            divisible: Whether a core can be asked to give back part of a token that it runs.
            tags: The user's own tags of the function that is called.

        Raises:
            ValueError: The `max_running` or `breaker` is not that of earlier calls.
        """
        if policy is not None and not policy.acts:
            policy = None
        with self._guard:
            operation = self._by_key.get((name, weight, policy))
            if operation is None:
                operation = self._make(name, weight, policy)
            if divisible:
                operation.divisible = True
            if tags:
                operation.tags.update(tags)
        return operation

    def _make(self, name: str, weight: Weight, policy: Policy | None) -> Operation:
        most, counted_as = (None, None) if policy is None else (policy.max_running, policy.of)
        limit = self._limit(counted_as or name, most)
        breaker = self._breaker(name, None if policy is None else policy.breaker)
        made = Operation(name, weight, self._threads, policy, limit=limit, breaker=breaker)
        # Before it is found: a call in another thread may make a token of it at once.
        if policy is not None and policy.timeout_ns is not None:
            self.any_timed = True
        if policy is not None and policy.lead is not None:
            self.any_leading = True
        # The same thread may have come here again meanwhile: all tokens are of one operation.
        return self._by_key.setdefault((name, weight, policy), made)

    def _limit(self, name: str, most: int | None) -> ConcurrencyLimit | None:
        """The limit of an operation, made with its first call."""
        before = self._limits_declared.setdefault(name, most)
        if before != most:
            raise ValueError(
                f"{name!r} has max_running={most} here, and max_running={before} where it was "
                "called before: one operation has one limit. Say the same for all functions of "
                "this operation_type, or give them one each."
            )
        if most is None:
            return None
        self.any_limited = True
        return self._limits.setdefault(name, ConcurrencyLimit(name, most))

    def _breaker(self, name: str, settings: CircuitBreaker | None) -> Breaker | None:
        before = self._breakers_declared.setdefault(name, settings)
        if before != settings:
            raise ValueError(
                f"{name!r} has breaker={settings} here, and breaker={before} where it was called "
                "before: one operation has one breaker. Say the same for all functions of this "
                "operation_type, or give them one each."
            )
        return None if settings is None else self.breakers.breaker_of(name, settings)

    def agreed_policy(self, name: str, policy: Policy) -> Policy:
        """A policy for calls of an operation, with the limit and breaker of earlier calls.

        For calls that were made inside tokens, and cannot be refused.
        """
        with self._guard:
            most = self._limits_declared.get(name, policy.max_running)
            breaker = self._breakers_declared.get(name, policy.breaker)
        return msgspec.structs.replace(policy, max_running=most, breaker=breaker)

    def knows(self, operation: Operation) -> bool:
        """Whether an operation object was declared here."""
        key = operation.name, operation.weight, operation.policy
        return self._by_key.get(key) is operation

    def all_operations(self) -> tuple[Operation, ...]:
        """All operations so far, in the order of their first calls."""
        return tuple(self._by_key.values())

    def all_limits(self) -> tuple[ConcurrencyLimit, ...]:
        """All concurrency limits so far."""
        return tuple(self._limits.values())
