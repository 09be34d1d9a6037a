"""The decorator: a plain function becomes one whose calls are tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from tokengate_mp.calls.token_function import TokenFunction, token_function
from tokengate_mp.config.circuit_breaker import CircuitBreaker
from tokengate_mp.config.option_table import OPTIONS, token_options
from tokengate_mp.config.options import Weight
from tokengate_mp.errors import short_name

P = ParamSpec("P")
R = TypeVar("R")


class _Guard(Protocol):
    """The decorator itself, which `task_token_guard(…)` returns."""

    def __call__(self, function: Callable[P, R], /) -> TokenFunction[P, R]: ...


def task_token_guard(  # noqa: PLR0913 - the public options, each with its default
    operation_type: str | None = None,
    tags: Mapping[str, Any] | None = None,
    *,
    weight: Weight | None = None,
    timeout: float | None = None,
    retries: int = 0,
    retry_on: tuple[type[BaseException], ...] = (Exception,),
    backoff: float = 0.0,
    idempotent: bool = False,
    sticky_anchor: str | None = None,
    external_calls: Sequence[Any] | None = None,
    digest_policy: str | None = None,
    sticky_for: float = 0.0,
    max_running: int | None = None,
    breaker: CircuitBreaker | None = None,
    context: bool = False,
    writable: bool = False,
    exclusive: bool = False,
) -> _Guard:
    """Decorate a synchronous function, so that its calls are tokens.

    Args:
        operation_type: Name under which its tokens are counted and controlled; default
            `module.qualname`.
        tags: Tags for telemetry. The reserved ones (`weight` …) are the options of that name.
        weight: Weight class; default medium, or "heavy" or "light" if `operation_type` has that
            word in it.
        timeout: Seconds, from its call, within which a token must have ended; waiting, runs and
            pauses between them included. It ends in `TokenTimeout` then, and its function is
            interrupted.
        retries: How often a token is run again after a run that failed. Its last error is raised,
            with the earlier ones as notes and as its `__context__`.
        retry_on: The types of errors after which it is, as in an `except` clause. (`WorkerLost`, of
            a run whose core process died, is an `Exception` too.)
        backoff: Seconds before the first further run, doubled for each one after it, half of that
            at random.
        idempotent: Whether a token may be run again, apart from `retries`, when its core process
            died under it.
        sticky_anchor: While a token with this anchor has not ended, those with the same anchor and
            equal arguments run on the same core, whichever function they call.
        external_calls: What the token is going to call: it is the *lead* of a chain. Every token
            made while it runs, or while one of those runs, runs in the same core process, and has
            the same `seed`.
        digest_policy: How the seed is made: "full" (which it is by default), "short", "fast" or
            "minimal".
        sticky_for: Seconds for which that core stays theirs after the last of them has ended, so
            that what it has in its cache is found again.
        max_running: How many tokens of the operation core processes are sent at once, and so run at
            once; None for any number. The others wait, and hold up no other operation. A batch of
            `map` counts as one of them. All functions of one `operation_type` must say the same.
            (Where tokens wait for tokens it may be exceeded: those of a chain that was begun are
            counted and never held back; and so is one for which all that are counted wait.)
        breaker: When the operation fails so often that it takes no calls for a while: they raise
            `OperationBlocked` (a call made inside a token: its `get()` does), and tokens that wait
            then end in it too. What cores have begun goes on. The same for all functions of one
            `operation_type`; not for `map`. See `CircuitBreaker`.
        context: Whether the function runs with the context variables (`contextvars`) that are set
            where it is called, as they are then: those that stand in a module, or that a function
            which travels by value refers to, and the context of `decimal`. Others of the standard
            library, and those that stand in no module, are left out; a value that cannot be sent
            is a `PayloadError` that names its variable. (They count among the arguments where
            `sticky_anchor` asks whether these are equal.)
        writable: Whether the function gets large arguments as copies that it may change. Without,
            an array of 64 KiB or more is a read-only view of shared memory.
        exclusive: Whether a token has its core process to itself from its start to its end, also
            while it waits, and runs in the main thread, where the initializer ran. Without, tokens
            of a process overlap while they wait, in as many threads as it has, and share what
            belongs to the process: its directory, `sys.stdout`, signal handlers, globals. Tokens
            that an exclusive one waits for may run in its process, on top of it; so may others of
            its chain, after it. (What `coordinator.submit` and `coordinator.map` call is exclusive
            unless it is decorated.)

    Raises:
        TypeError: What is decorated is no plain synchronous function, or an option has the wrong
            type.
        ValueError: An option has a value that is not allowed.
    """
    given = {name: value for name, value in locals().items() if name in OPTIONS}
    if callable(operation_type):
        raise TypeError(
            "task_token_guard takes options, not the function: "
            "write @task_token_guard() with parentheses"
        )
    # Before there is a function: the mistake is in this line, not in the one below.
    token_options(operation_type or "operation", tags, **given)

    def decorate(function: Callable[P, R], /) -> TokenFunction[P, R]:
        refuse_unsuitable(function)
        name = operation_type if operation_type is not None else operation_name(function)
        return token_function(function, token_options(name, tags, **given))

    return decorate


def is_constant(function: object) -> bool:
    """Whether calling `function` depends on nothing that could change between two calls."""
    if isinstance(function, BuiltinFunctionType):  # which the methods of built-in objects are too
        return isinstance(function.__self__, ModuleType | None)
    return isinstance(function, (FunctionType, type))


def operation_name(function: Callable[..., Any]) -> str:
    """`module.qualname` of a function, or of the type of another callable.

    A partial function has the name of the function within.
    """
    while type(function) is partial:
        function = function.func
    kind: type[Any] = type(function)
    name = _text(function, "__qualname__") or _text(function, "__name__")
    module = _text(function, "__module__")
    if module is None:
        # Methods of types that are written in C know their type, or an object of it, and not its
        # module. (Asked of the types that have these attributes alone: an object may say anything.)
        method: Any = function
        owner: Any = kind
        if issubclass(kind, _METHODS):
            owner = method.__objclass__
        elif issubclass(kind, _BOUND_METHODS):
            owner = method.__self__
            owner = owner if isinstance(owner, type) else type(owner)
        module = _text(owner, "__module__")
    name = name or short_name(kind)
    return f"{module}.{name}" if module else name


_METHODS: Final = (MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType)
_BOUND_METHODS: Final = (BuiltinFunctionType, MethodWrapperType)


def _text(thing: object, attribute: str) -> str | None:
    """An attribute of a user's object if it is a text, whatever the object does when asked."""
    try:
        value = getattr(thing, attribute, None)
    except Exception:  # noqa: BLE001 - its own code, about a name and nothing else
        return None
    return str.__str__(value) if issubclass(type(value), str) else None


_MAKES_ANOTHER: Final = 0x20 | 0x80 | 0x200
"""Flags of code whose call makes a generator, coroutine or both (`inspect.CO_…`)."""


def refuse_unsuitable(function: Any) -> None:
    """Refuse a function that cannot be run as a token.

    Raises:
        TypeError: `function` is not callable, or calling it would run nothing but make a coroutine
            or a generator, which cannot travel.
    """
    if isinstance(function, TokenFunction):
        raise TypeError(f"{function.operation_type!r} is decorated already; use its .options(…)")
    if not callable(function):
        raise TypeError(
            f"what is of type {type(function).__name__} is not callable, so it cannot be a token"
        )
    plain = type(function) is FunctionType and not function.__dict__  # no `__wrapped__`, no mark
    if plain and not function.__code__.co_flags & _MAKES_ANOTHER:
        return
    import inspect  # noqa: PLC0415 - 10 ms, which core processes need not take to start

    body = inspect.unwrap(function) if inspect.isroutine(function) else function
    call = body if inspect.isroutine(body) or inspect.isclass(body) else type(body).__call__
    for kind, test in (
        ("a coroutine function", inspect.iscoroutinefunction),
        ("an asynchronous generator function", inspect.isasyncgenfunction),
        ("a generator function", inspect.isgeneratorfunction),
    ):
        if _passes(test, body) or _passes(test, call):
            raise TypeError(
                f"{operation_name(function)!r} is {kind}: tokens run plain synchronous "
                "functions. Return a list instead of yielding, or run the coroutine inside "
                "the function with asyncio.run()."
            )


def _passes(test: Callable[[object], bool], thing: object) -> bool:
    """Whether a user's object passes a test of `inspect`; not if the object raises meanwhile."""
    try:
        return test(thing)
    except Exception:  # noqa: BLE001 - its own code, asked for names and marks
        return False
