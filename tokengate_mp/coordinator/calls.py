"""What is called through a running coordinator, with or without a decorator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

from tokengate_mp.bulk.progress import Wanted
from tokengate_mp.bulk.token_map import TokenMap
from tokengate_mp.calls.decorator import is_constant, operation_name, refuse_unsuitable
from tokengate_mp.calls.token_function import TokenFunction
from tokengate_mp.config.option_table import token_options
from tokengate_mp.coordinator.shared import Shared
from tokengate_mp.engine.engine import Engine
from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.loops.host import Host
from tokengate_mp.tokens.token import Token
from tokengate_mp.worker.run.applied import apply

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Calls:
    """Making tokens, waiting for room for them, and waiting for them all."""

    _host: Host | None = None
    _engine: Engine | None = None

    def __init__(self) -> None:
        # The function submitted last: most submit one many times.
        self._submitted: TokenFunction[..., Any] | None = None

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Token[R]:
        """Make a token of calling an undecorated function (or any other callable).

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
            TypeError: `function` is not callable, or calling it would only make a coroutine or a
                generator.
            PayloadError: The function or an argument cannot be encoded.
        """
        if self._engine is None or not self._engine.takes_calls():
            raise CoordinatorNotRunning(
                "submit() was called on a coordinator that is not running; start it first"
            )
        if isinstance(function, TokenFunction):
            token: Token[R] = function(*args, **kwargs)
            return token
        if is_constant(function):
            if self._submitted is None or self._submitted.__wrapped__ is not function:
                refuse_unsuitable(function)
                self._submitted = TokenFunction(function, token_options(operation_name(function)))
            return self._submitted(*args, **kwargs)
        # Anything else may change between two calls, so it travels with each, as an argument.
        refuse_unsuitable(function)
        by_argument: TokenFunction[..., R] = TokenFunction(
            cast("Callable[..., R]", apply), token_options(operation_name(function))
        )
        return by_argument(function, *args, **kwargs)

    def share(self, value: T) -> Shared[T]:
        """Store a value in shared memory, once for all calls that it is passed to.

        Returns:
            A handle. Calls take it in place of the value, and their functions get the value; an
            array is a read-only view. It can be closed, and be used in a `with` statement.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
            PayloadError: It cannot be pickled, or there is no room for it.
        """
        if self._engine is None or not self._engine.takes_calls():
            raise CoordinatorNotRunning(
                "share() was called on a coordinator that is not running; start it first"
            )
        return Shared(value, self._engine.arena)

    async def ready(self) -> None:
        """Wait until there is room for a call within `max_pending` and `max_pending_bytes`.

        Raises:
            CoordinatorNotRunning: This coordinator is not running.
        """
        host, engine = self._host, self._engine
        if host is None or engine is None or not engine.takes_calls():
            raise CoordinatorNotRunning(
                "ready() was awaited on a coordinator that is not running; start it first"
            )
        here, admission, place = asyncio.get_running_loop(), engine.admission, object()
        waiting = admission.ready(host.loop, place)
        try:
            if here is host.loop:
                await waiting
            else:
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(waiting, host.loop))
        finally:
            # Soon, as the caller makes its call first, if it makes any. (From another loop this one
            # may have been given up just when it was called there, so that is said in any case.)
            if here is not host.loop or admission.is_called(place):
                here.call_soon(host.post, lambda: admission.gone_on(place))

    def map(  # noqa: PLR0913 - the options of a map, each with its default
        self,
        function: Callable[..., R],
        iterable: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        ordered: bool = True,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: Wanted = None,
    ) -> TokenMap[R]:
        """Call an undecorated function (or any other callable) for each item, in batches.

        Args:
            function: The function. As it is now: what is changed in it later changes nothing.
            iterable: As for `TokenFunction.map`.
            iterables: As for `TokenFunction.map`.
            ordered: As for `TokenFunction.map`.
            buffersize: As for `TokenFunction.map`.
            return_exceptions: As for `TokenFunction.map`.
            progress: As for `TokenFunction.map`.

        Raises:
            ImportError: What the progress is drawn with is not installed.
            CoordinatorNotRunning: This coordinator is not running.
            TypeError: `function` is not callable, or calling it would only make a coroutine or a
                generator; or `buffersize` is no int.
            ValueError: `buffersize` is below 1.
            PayloadError: The function cannot be encoded.
        """
        if self._engine is None or not self._engine.takes_calls():
            raise CoordinatorNotRunning(
                "map() was called on a coordinator that is not running; start it first"
            )
        if isinstance(function, TokenFunction):
            mapped = function
        else:
            refuse_unsuitable(function)
            mapped = TokenFunction(function, token_options(operation_name(function)))
        results: TokenMap[R] = mapped.map(
            iterable,
            *iterables,
            ordered=ordered,
            buffersize=buffersize,
            return_exceptions=return_exceptions,
            progress=progress,
        )
        return results

    async def join(self) -> None:
        """Wait until every token has ended."""
        host, engine = self._host, self._engine
        if host is None or engine is None or not engine.takes_calls():
            return  # then every token has ended
        if asyncio.get_running_loop() is host.loop:
            await engine.join()
        else:
            joined = asyncio.run_coroutine_threadsafe(engine.join(), host.loop)
            await asyncio.wrap_future(joined)
