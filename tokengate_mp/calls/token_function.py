"""A decorated function: its calls are tokens.

A call encodes its arguments and hands the record to the running coordinator, all before it returns:
so what cannot be encoded fails right there, in the caller's line, and what the caller does to the
arguments afterwards changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import WRAPPER_ASSIGNMENTS, partial
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

from tokengate_mp import this_process
from tokengate_mp.config.option_table import changed_options
from tokengate_mp.config.options import TokenOptions
from tokengate_mp.errors import CoordinatorNotRunning
from tokengate_mp.tokens.enrolled import Enrolled, Version
from tokengate_mp.tokens.numbers import next_number
from tokengate_mp.wire.payload.attachments import AttachedRecord
from tokengate_mp.wire.payload.buffers import LARGE
from tokengate_mp.wire.payload.codec import NOT_MSGPACK, SCALARS
from tokengate_mp.wire.payload.context_vars import snapshot
from tokengate_mp.wire.payload.definition import identify, name_of, named
from tokengate_mp.wire.protocol.call_encoder import (
    CallEncoder,
    Surroundings,
    parameter_names,
    with_key,
)
from tokengate_mp.wire.protocol.pending_call import PendingCall
from tokengate_mp.wire.protocol.records import encode
from tokengate_mp.worker.run.applied import apply
from tokengate_mp.worker.run.context_call import InContext, InOneContext

if TYPE_CHECKING:
    # For the types alone: a core process imports this module and must not load asyncio.
    from tokengate_mp.bulk.progress import Wanted
    from tokengate_mp.bulk.sender import Sender
    from tokengate_mp.bulk.token_map import TokenMap
    from tokengate_mp.scheduling.model.operation import Operation
    from tokengate_mp.tokens.token import Token

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


_SHORT: Final = SCALARS - {bytes}
"""Types of arguments that go as msgpack without a look at how long they are."""


class Intake(Surroundings, Protocol):
    """The part of a coordinator that takes in calls."""

    def enrol(self, function: Callable[..., Any], options: TokenOptions) -> Enrolled:
        """Make a function known, as it is now, and the operation of its calls."""

    def issue(
        self,
        number: int,
        operation: Operation,
        record: bytes | AttachedRecord | PendingCall,
        version: Version,
    ) -> Token[Any]:
        """Take in an encoded call; returns its token."""

    def issue_guarded(
        self,
        number: int,
        operation: Operation,
        record: bytes | AttachedRecord | PendingCall,
        version: Version,
    ) -> Token[Any]:
        """Take in an encoded call, unless its operation takes none at the moment."""


class _Annotations(dict[str, Any]):
    """Annotations of a class, and for an object of the class those of the function in it.

    From Python 3.14 on a function's annotations are evaluated when they are first asked for, so
    `update_wrapper` does not copy them; and an object that has none would show those of its class.
    """

    def __get__(self, instance: TokenFunction[..., Any] | None, owner: type) -> dict[str, Any]:
        return self if instance is None else instance.__wrapped__.__annotations__


class TokenFunction(Generic[P, R]):
    """A decorated function, whose calls give a `Token` at once.

    Attributes:
        __wrapped__: The plain function.
        token_options: How its tokens are treated.
        inside: The enrolment that calls made inside tokens use, in a core process.
    """

    __annotations__ = _Annotations()

    inside: Any = None

    __wrapped__: Callable[P, R]

    # The coordinator that the function is enrolled with, what it has there, and what tells whether
    # its global variables are bound as they were then. (In one, as threads take turns anywhere.)
    _enrolled: tuple[Intake | None, int, Any, Any, Callable[[], bool] | None] = (
        None,
        0,
        None,
        None,
        None,
    )

    def __init__(self, function: Callable[P, R], options: TokenOptions) -> None:
        identify(function)
        _wrap(self, function)
        self.token_options = options
        self._anchor = options.sticky_anchor
        self._keep = int(options.sticky_for * 1e9)
        self._encoder = CallEncoder(
            options.operation_type,
            partial(parameter_names, function),
            writable=options.writable,
            applied=function is apply,
        )
        self.__tokengate_plain__ = function
        # What cores call: the function itself, if nothing is to be done around it.
        self.called: Callable[..., R] = function
        self._guarded = options.policy.breaker is not None
        self._apart = self._guarded or self._anchor is not None

    @property
    def operation_type(self) -> str:
        """The operation that the function's tokens count as."""
        return self.token_options.operation_type

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Token[R]:  # noqa: C901, PLR0912
        """Make a token of a call.

        Raises:
            CoordinatorNotRunning: No coordinator is running in this process.
            PayloadError: The function or an argument cannot be encoded.
            OperationBlocked: The operation has a breaker, which is open.
        """
        intake: Intake | None = this_process.intake
        if intake is None:
            calls = this_process.calls or _outside(self.operation_type)
            return calls.call(self, args, kwargs)  # type: ignore[no-any-return]  # typed as one
        home, index, operation, version, unchanged = self._enrolled
        if home is not intake or (unchanged is not None and not unchanged()):
            _, index, operation, version, _ = self._enrol(intake)
        number = next_number()
        record: bytes | AttachedRecord | PendingCall
        # Scalars are encoded here, and all else by the encoder, whose way to the same record takes
        # a call and several checks more: nearly half of what a short call costs.
        if not kwargs:
            for argument in args:
                if type(argument) not in _SHORT:
                    record = self._encoder.encode_call(number, index, args, kwargs, intake)
                    break
            else:
                try:
                    record = encode((number, index, args))
                except NOT_MSGPACK:
                    record = self._encoder.encode_call(number, index, args, kwargs, intake)
                else:
                    if len(record) > LARGE:  # with a long text, which had better go by the arena
                        encode_call = self._encoder.encode_call
                        record = encode_call(number, index, args, kwargs, intake)
        else:
            record = self._encoder.encode_call(number, index, args, kwargs, intake)
        if self._apart:
            if self._anchor is not None:
                record = with_key(record, self._anchor, self._keep, args, kwargs, intake)
            if self._guarded:
                return intake.issue_guarded(number, operation, record, version)
        return intake.issue(number, operation, record, version)

    def _enrol(
        self, intake: Intake
    ) -> tuple[Intake | None, int, Any, Any, Callable[[], bool] | None]:
        """Make the function known to the coordinator as it is now: its global variables too."""
        index, operation, version = intake.enrol(self.called, self.token_options)
        enrolled = self._enrolled = intake, index, operation, version, version.unchanged
        return enrolled

    def encode_nested(
        self,
        number: int,
        index: int,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        anchored: bool,
    ) -> bytes | PendingCall:
        """Encode a call that is made inside a token: as a request, or as a pending call.

        Args:
            number: The number of its token.
            index: The index of the function in this process.
            args: Positional arguments.
            kwargs: Keyword arguments.
            anchored: Whether it goes where others of its key are, if the function has an anchor.

        Raises:
            PayloadError: An argument cannot be encoded.
        """
        # (No attached record: a core process has nowhere to put large arguments.)
        record: Any = self._encoder.encode_call(number, index, args, kwargs, None)
        if anchored and self._anchor is not None:
            return with_key(record, self._anchor, self._keep, args, kwargs, None)
        return record  # type: ignore[no-any-return]  # see above

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
                may be endless. What it gives is encoded with its batch, some items later, so it
                must not be changed until its result is there.
            iterables: Their further arguments; the shortest iterable ends them all.
            ordered: Whether results come in the order of the items, or as they are there.
            buffersize: The most items that are read and not given back as results; default: as
                many as keep the cores busy.
            return_exceptions: Whether errors are given in place of results, instead of raised.
            progress: Told about ten times a second how many calls have ended: True for a bar (by
                rich if it is installed, else tqdm), "rich", "tqdm", or a `Progress`. An error of
                the progress is raised to whoever takes results.

        Returns:
            The results: `for`, `async for`, or `await` for a list. An error has the place of its
            item as `item_index`, and a note that says so. (One that a whole batch has in common,
            as its process died, has that of the first, and the note says of which items it is.)

        Raises:
            CoordinatorNotRunning: No coordinator is running in this process.
            PayloadError: The function cannot be encoded.
            ImportError: The library that draws the bar is not installed.
            TypeError: `buffersize` is no int, or `progress` is none.
            ValueError: `buffersize` is below 1; there is no bar of that name; or the function has
                a timeout or retries, which an item among others cannot have.
        """
        if this_process.calls is not None:
            child_map: TokenMap[R] = this_process.calls.map(
                self,
                zip(iterable, *iterables, strict=False),
                ordered=ordered,
                buffersize=buffersize,
                return_exceptions=return_exceptions,
            )
            return child_map
        # Not above: a core process imports this module, and maps in a way of its own.
        from tokengate_mp.bulk.token_map import token_map  # noqa: PLC0415

        intake = this_process.intake
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
        """The function that is called for each item of a map."""
        return self.__wrapped__

    def options(self, **overrides: Any) -> TokenFunction[P, R]:
        """Copy the function with other options, as of `task_token_guard`.

        Raises:
            TypeError: There is no such option, or it has the wrong type.
            ValueError: A value is not allowed.
        """
        return token_function(self.__wrapped__, changed_options(self.token_options, overrides))

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> TokenFunction[P, R]: ...

    @overload
    def __get__(
        self: TokenFunction[Concatenate[S, Q], R], instance: S, owner: type[Any] | None = None
    ) -> Callable[Q, Token[R]]: ...

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        """Bind as a method: `self` is the first argument of each call."""
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
    """A decorated function that runs with the context variables of its caller."""

    def __init__(self, function: Callable[P, R], options: TokenOptions) -> None:
        super().__init__(function, options)
        self.called = InContext(function)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Token[R]:
        """Make a token of a call; the context goes as a further argument, the last.

        Raises:
            CoordinatorNotRunning: No coordinator is running in this process.
            PayloadError: The function, an argument or a context variable cannot be encoded.
            OperationBlocked: The operation has a breaker, which is open.
        """
        call: Callable[..., Token[R]] = super().__call__
        return call(*args, snapshot(self.operation_type), **kwargs)

    def _mapped(self) -> Callable[..., R]:
        """The function with the context of the call of `map`, for each item."""
        return InOneContext(self.__wrapped__, snapshot(self.operation_type))


def token_function(function: Callable[P, R], options: TokenOptions) -> TokenFunction[P, R]:
    """A function with the options of its tokens."""
    kind = CarryingFunction if options.context else TokenFunction
    return kind(function, options)


def _wrap(wrapper: TokenFunction[..., Any], function: Callable[..., Any]) -> None:
    """Make a token function look like its function, as `functools.update_wrapper` does.

    A callable of any kind may raise when it is asked for a name. The attributes of a class are no
    business of the wrapper, and no attribute goes before the wrapper's own.
    """
    for name in WRAPPER_ASSIGNMENTS:
        try:
            value = getattr(function, name)
        except Exception:  # noqa: BLE001, S112 - it goes without
            continue
        setattr(wrapper, name, value)
    own = type(wrapper)
    if not isinstance(function, type):
        attributes = getattr(function, "__dict__", {})
        vars(wrapper).update({k: v for k, v in attributes.items() if not hasattr(own, k)})
    wrapper.__wrapped__ = function


def _outside(operation_type: str) -> NoReturn:
    """Refuse a call outside a core process, where there is no intake.

    Raises:
        CoordinatorNotRunning: Always.
    """
    raise CoordinatorNotRunning.for_call(operation_type)


def _from_name(name: str, options: TokenOptions) -> TokenFunction[..., Any]:
    return token_function(named(name), options)
