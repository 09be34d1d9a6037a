"""A decorated function: its calls are tokens.

A call encodes its arguments and hands the record to the running coordinator, all before it returns:
so what cannot be encoded fails right there, in the caller's line, and what the caller does to the
arguments afterwards changes nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial, update_wrapper
from itertools import count
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from tokengate_mp import worker
from tokengate_mp.errors import CoordinatorNotRunning, PayloadError
from tokengate_mp.options import TokenOptions
from tokengate_mp.wire import fingerprint
from tokengate_mp.wire.blanks import FILLABLE, NOT_YET, Blanks, Encoded
from tokengate_mp.wire.buffers import LARGE, pack_call, packing
from tokengate_mp.wire.codec import NOT_MSGPACK, SCALARS, arguments_to_pickle
from tokengate_mp.wire.context_vars import snapshot
from tokengate_mp.wire.definition import identify, name_of, named
from tokengate_mp.wire.draft import Blanked, Draft
from tokengate_mp.wire.freight import Laden, laden
from tokengate_mp.wire.records import MAX_PAYLOAD, encode
from tokengate_mp.worker.carried import InContext, InOneContext

if TYPE_CHECKING:
    # For the types alone: a core process imports this module and must not load asyncio.
    from tokengate_mp.bulk.feed import Sender
    from tokengate_mp.bulk.progress import Wanted
    from tokengate_mp.bulk.token_map import TokenMap
    from tokengate_mp.scheduling.operation import Operation
    from tokengate_mp.token import Token
    from tokengate_mp.wire.arena import Arena

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


_SHORT: Final = SCALARS - {bytes}
"""Types of arguments that go as msgpack without a look at how long they are."""


class Intake(Protocol):
    """The coordinator, as calls see it."""

    @property
    def arena(self) -> Arena | None:
        """Where large arguments go; None: with all others."""

    def enrol(self, function: Callable[..., Any], options: TokenOptions) -> tuple[int, Operation]:
        """Make a function known; the index it travels by, and the operation it counts as."""

    def issue(
        self,
        number: int,
        operation: Operation,
        record: bytes | Laden | Draft,
        function: Callable[..., R],
    ) -> Token[R]:
        """Take in an encoded call."""

    def issue_guarded(
        self,
        number: int,
        operation: Operation,
        record: bytes | Laden | Draft,
        function: Callable[..., R],
    ) -> Token[R]:
        """The same for a call that may be refused, as its operation takes none at the moment."""

    def vouch(self, token: Any) -> None:
        """Let a token be an argument; raises if its value can never be here."""


_intake: Intake | None = None
_numbers = count(1)
next_number = _numbers.__next__
"""The number of the next token of this process, whoever makes it."""


def open_intake(intake: Intake | None) -> None:
    """From now on calls go to `intake`; None: there is nobody to take them."""
    global _intake  # noqa: PLW0603 - one coordinator a process: that is what this says
    _intake = intake


def current_intake() -> Intake | None:
    """Where calls go at the moment."""
    return _intake


def _parameters(function: Callable[..., Any]) -> list[str]:
    """The names of a function's positional parameters, as far as they can be found out."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in positional]


class TokenFunction(Generic[P, R]):
    """A decorated function; calling it gives a `Token` at once.

    Attributes:
        __wrapped__: The plain function.
        token_options: How its tokens are treated.
        inside: What calls made inside tokens know of it, in a core process.
    """

    inside: Any = None

    # The coordinator that the function is enrolled with, and what enrolling gave.
    _enrolled_with: Intake | None = None
    _index: int
    _operation: Operation

    def __init__(self, function: Callable[P, R], options: TokenOptions) -> None:
        identify(function)
        update_wrapper(self, function)
        self.__wrapped__ = function
        self.__tokengate_plain__ = function
        self.token_options = options
        # What cores call: the function itself, if nothing is to be done around it.
        self.called: Callable[..., R] = function
        self._anchor = options.sticky_anchor
        self._keep = int(options.sticky_for * 1e9)
        self._writable = options.writable
        self._guarded = options.policy.breaker is not None
        self._apart = self._guarded or self._anchor is not None

    @property
    def operation_type(self) -> str:
        """The operation that its tokens count as."""
        return self.token_options.operation_type

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Token[R]:
        """Make a token of this call.

        Raises:
            CoordinatorNotRunning: No coordinator is running in this process.
            PayloadError: The function or an argument cannot be encoded.
            OperationBlocked: The operation has a breaker, which is open.
        """
        intake = _intake
        if intake is None:
            calls = worker.calls or _outside(self.operation_type)
            return calls.call(self, args, kwargs)  # type: ignore[no-any-return]  # typed as one
        if intake is not self._enrolled_with:
            self._index, self._operation = intake.enrol(self.called, self.token_options)
            self._enrolled_with = intake
        number = next(_numbers)
        record: bytes | Laden | Draft
        if not kwargs:
            for argument in args:
                if type(argument) not in _SHORT:
                    record = self._pickled(number, args, kwargs)
                    break
            else:
                try:
                    record = encode((number, self._index, args))
                except NOT_MSGPACK:
                    record = self._pickled(number, args, kwargs)
        else:
            record = self._pickled(number, args, kwargs)
        if self._apart:
            if self._anchor is not None:
                record = self._anchored(record, args, kwargs)
            if self._guarded:
                return intake.issue_guarded(number, self._operation, record, self.called)
        return intake.issue(number, self._operation, record, self.called)

    def map(
        self,
        iterable: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        ordered: bool = True,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: Wanted = None,
    ) -> TokenMap[R]:
        """Call the function for each item, in batches.

        An item of the map is no token of its own: many travel in one token, as many as take a few
        milliseconds. Such a token counts as the operation `operation_type + ".map"`. (Inside a
        token each item is one, and the map is gone through with `for`.)

        Args:
            iterable: The first arguments of the calls. It is read as results are asked for, and
                may be endless.
            iterables: Their further arguments; the shortest iterable ends them all.
            ordered: Whether results come in the order of the items, or as they are there.
            buffersize: The most items that are read and not given back as results; default: as
                many as keep the cores busy.
            return_exceptions: Whether errors are given in place of results, instead of raised.
            progress: Who is told how far it has got, about ten times a second: True for a bar
                (by rich if it is installed, else tqdm), "rich", "tqdm", or a `Progress`. What that
                raises is raised to whoever takes results.

        Returns:
            The results: `for`, `async for`, or `await` for a list. An error has the place of its
            item as `item_index`, and a note that says so.

        Raises:
            CoordinatorNotRunning: No coordinator is running in this process.
            PayloadError: The function cannot be encoded.
            ImportError: What the progress is drawn with is not installed.
            TypeError: `buffersize` is no int, or `progress` is none.
            ValueError: `buffersize` is below 1; there is no bar of that name; or the function has
                a timeout or retries, which an item among others cannot have.
        """
        if worker.calls is not None:
            child_map: TokenMap[R] = worker.calls.map(
                self,
                zip(iterable, *iterables, strict=False),
                ordered=ordered,
                buffersize=buffersize,
                return_exceptions=return_exceptions,
            )
            return child_map
        # Not above: a core process imports this module, and maps in a way of its own.
        from tokengate_mp.bulk.token_map import token_map  # noqa: PLC0415

        intake = _intake
        if intake is None:
            raise CoordinatorNotRunning.for_call(self.operation_type)
        return token_map(
            cast("Sender", intake),  # a coordinator is both
            self._mapped(),
            self.token_options,
            (iterable, *iterables),
            ordered=ordered,
            buffersize=buffersize,
            return_exceptions=return_exceptions,
            progress=progress,
        )

    def _mapped(self) -> Callable[..., R]:
        """What is called for each item of a map."""
        return self.__wrapped__

    def encoded(
        self,
        number: int,
        index: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        anchored: bool,
    ) -> bytes | Draft:
        """A call made inside a token as a request, or a draft of one.

        Args:
            number: Its token's number.
            index: The function's index.
            args: Positional arguments.
            kwargs: Keyword arguments.
            anchored: Whether it goes where others of its key are, if the function has an anchor.

        Raises:
            PayloadError: An argument cannot be encoded.
        """
        self._index = index
        record: bytes | Draft = b""
        if not kwargs and SCALARS.issuperset(map(type, args)):
            try:
                record = encode((number, index, args))
            except NOT_MSGPACK:
                pass
        if not record:
            there = self._pickled(number, args, kwargs)
            assert not isinstance(there, Laden), "a core process has nowhere to put arguments"
            record = there
        if anchored and self._anchor is not None:
            return self._anchored(record, args, kwargs)
        return record

    def _pickled(
        self, number: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> bytes | Laden | Draft:
        """A call as an encoded request, where msgpack would not keep its arguments exactly.

        With tokens among them it is only a draft of one.
        """
        if (
            not kwargs
            and SCALARS.issuperset(map(type, args))
            and not any(type(argument) is bytes and len(argument) >= LARGE for argument in args)
        ):
            try:
                return encode((number, self._index, args))
            except NOT_MSGPACK:
                pass
        if not kwargs and not FILLABLE.isdisjoint(map(type, args)):
            listed = self._listed(number, args)
            if listed is not None:
                return listed
        with Blanks(self._vouch) as blanks:
            pickled = arguments_to_pickle(
                self.operation_type,
                args,
                kwargs,
                lambda: _parameters(self.__wrapped__),
                partial(pack_call, arena=self._arena(), writable=self._writable),
            )
        if len(pickled) > MAX_PAYLOAD:
            raise PayloadError(
                f"{self.operation_type!r}: the arguments take {len(pickled)} bytes, and a token "
                f"carries {MAX_PAYLOAD} at most; pass a file name instead, or split the work"
            )
        if blanks.tokens:
            needs = list(enumerate(blanks.tokens))
            return Blanked(number, self._index, pickled, needs, writable=self._writable)
        return laden(encode((number, self._index, bytes(pickled))), pickled)

    def _arena(self) -> Arena | None:
        return None if self._enrolled_with is None else self._enrolled_with.arena

    def _vouch(self, token: Any) -> None:
        if self._enrolled_with is not None:
            self._enrolled_with.vouch(token)

    def _listed(self, number: int, args: tuple[Any, ...]) -> bytes | Draft | None:
        """The same for scalars and tokens alone, which need no pickle; None: they need one."""
        filled = list(args)
        needs: list[tuple[int, Any]] = []
        for at, argument in enumerate(args):
            if type(argument) in SCALARS:
                continue
            if type(argument) not in FILLABLE:
                return None
            token: Any = argument
            try:
                self._vouch(token)
            except PayloadError:
                return None  # on the other way the error gets to name the argument
            value = token.arrived()
            if value is NOT_YET:
                needs.append((at, token))
                filled[at] = None
            elif type(value) in SCALARS:
                filled[at] = value
            else:
                return None
        try:
            if needs:
                encode(filled)  # what msgpack refuses is better refused now
                return Blanked(number, self._index, filled, needs, writable=self._writable)
            return encode((number, self._index, filled))
        except NOT_MSGPACK:
            return None

    def _anchored(
        self, record: bytes | Laden | Draft, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Draft:
        """An encoded call with its content key."""
        keep = self._keep
        if isinstance(record, Blanked):  # the values are content too, and not here yet
            record.anchor, record.keep = self._anchor, keep
            return record
        assert isinstance(record, (bytes, Laden)), "there is no other draft of a call without a key"
        anchor = self._anchor or ""
        if not kwargs and SCALARS.issuperset(map(type, args)):
            return Draft(record, fingerprint.key(anchor, args, kwargs), keep)
        with Blanks(self._vouch), packing(self._arena()):
            if not FILLABLE.isdisjoint(map(type, (*args, *kwargs.values()))):
                args = tuple(map(_itself, args))
                kwargs = {name: _itself(value) for name, value in kwargs.items()}
            key = fingerprint.key(anchor, args, kwargs, len(record))
        return Draft(record, key, keep)

    def options(self, **overrides: Any) -> TokenFunction[P, R]:
        """A copy of this function with other options (those of `task_token_guard`).

        Raises:
            TypeError: There is no such option, or it has the wrong type.
            ValueError: A value is not allowed.
        """
        return token_function(self.__wrapped__, self.token_options.changed(overrides))

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> TokenFunction[P, R]: ...

    @overload
    def __get__(
        self: TokenFunction[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> Callable[Q, Token[R]]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """As an attribute of a class it is a method; `self` is the first argument of its calls."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str | tuple[Any, ...]:
        name = name_of(self)
        if name is not None:
            return name.partition(":")[2]  # pickle finds it again by module and qualname
        name = name_of(self.__wrapped__)
        if name is not None:
            return _from_name, (name, self.token_options)
        return token_function, (self.__wrapped__, self.token_options)

    def __repr__(self) -> str:
        return f"<TokenFunction {self.operation_type} {self.token_options.weight}>"


class CarryingFunction(TokenFunction[P, R]):
    """A decorated function that runs with the context variables of whoever calls it."""

    def __init__(self, function: Callable[P, R], options: TokenOptions) -> None:
        super().__init__(function, options)
        self.called = InContext(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Token[R]:
        """Make a token of this call; the context goes as one more argument, the last.

        Raises:
            CoordinatorNotRunning: No coordinator is running in this process.
            PayloadError: The function, an argument or a context variable cannot be encoded.
            OperationBlocked: The operation has a breaker, which is open.
        """
        call: Callable[..., Token[R]] = super().__call__
        return call(*args, snapshot(self.operation_type), **kwargs)

    def _mapped(self) -> Callable[..., R]:
        """What is called for each item of a map: with the context of the call of `map`."""
        return InOneContext(self.__wrapped__, snapshot(self.operation_type))


def token_function(function: Callable[P, R], options: TokenOptions) -> TokenFunction[P, R]:
    """A function with the options of its tokens."""
    kind = CarryingFunction if options.context else TokenFunction
    return kind(function, options)


def _itself(argument: Any) -> Any:
    """An argument, or the value of the token that it is."""
    value = argument.arrived() if type(argument) in FILLABLE else argument
    # A value that is still encoded is pickled by the token all the same.
    return argument if value is NOT_YET or isinstance(value, Encoded) else value


def _outside(operation_type: str) -> NoReturn:
    """There is no intake, and this is no core process, whose calls need none."""
    raise CoordinatorNotRunning.for_call(operation_type)


def _from_name(name: str, options: TokenOptions) -> TokenFunction[..., Any]:
    return token_function(named(name), options)
