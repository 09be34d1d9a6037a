"""What can go wrong, as types.

Every error derives from `TokenGateError`, survives pickling with all its fields, and its message
says who caused it and what to do about it. Where the standard library has a name for the same
trouble the error is one of those too, so that code written for a thread or process pool goes on
catching it. (`WorkerLost` has a module of its own: see there.)
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, TypeVar

from tokengate_mp.sigint import is_raised_by


class TokenGateError(Exception):
    """Base of every error that tokengate_mp raises itself."""


class CoordinatorNotRunning(TokenGateError, RuntimeError):
    """A call was made while no coordinator was running in the process."""

    @classmethod
    def for_call(cls, operation_type: str) -> CoordinatorNotRunning:
        """Make the error of a call to `operation_type` while there is no coordinator."""
        return cls(
            f"{operation_type!r} was called, but no coordinator is running in this process. "
            "Start one around the calls: `async with OperationsCoordinator():` (or `with …` in "
            "a plain script), or call the undecorated function: `f.__wrapped__(…)`."
        )


class CoordinatorRunning(TokenGateError, RuntimeError):
    """A second coordinator was started, or a running coordinator started again."""


class PayloadError(TokenGateError, TypeError, pickle.PicklingError):
    """An argument or a result cannot be turned into bytes and back."""


class AdmissionRejected(TokenGateError):
    """A limit on waiting tokens was reached, and the coordinator was told to reject."""


class OperationBlocked(TokenGateError):
    """The operation takes no calls at the moment."""


class TokenKilled(TokenGateError):
    """The token was ended on request before its function returned.

    Attributes:
        token_id: The token's id.
        reason: What the caller of `kill` (or the coordinator) gave as the reason.
    """

    def __init__(self, token_id: str, reason: str) -> None:
        super().__init__(token_id, reason)
        self.token_id = token_id
        self.reason = reason

    def __str__(self) -> str:
        return f"token {self.token_id} was killed: {self.reason}"


class DependencyFailed(TokenGateError):
    """A token among the arguments failed, so the call has no value to run with.

    Attributes:
        token_id: The token that was not run.
        chain: The tokens that the failure came through, each as id and operation_type: first the
            one that failed, last the one among the arguments.
        omitted: How many were left out of the middle of `chain`, if it is long.
        reason: Type and text of what the first one failed with, which is the `__cause__` too.
    """

    def __init__(self, token_id: str, chain: tuple[str, ...], omitted: int, reason: str) -> None:
        super().__init__(token_id, chain, omitted, reason)
        self.token_id = token_id
        self.chain = chain
        self.omitted = omitted
        self.reason = reason

    def __str__(self) -> str:
        names = list(self.chain)
        if self.omitted:
            names.insert(len(names) // 2, f"… {self.omitted} more …")
        way = " → ".join([*names, self.token_id])
        return (
            f"token {self.token_id} was not run, since a token that it needs failed: {way}. "
            f"{self.chain[0]} failed with {self.reason}"
        )


class TokenTimeout(TokenGateError, TimeoutError):
    """The token did not end within its time limit.

    Attributes:
        token_id: The token's id.
        operation_type: Its operation.
        seconds: The time it was given.
    """

    def __init__(self, token_id: str, operation_type: str, seconds: float) -> None:
        super().__init__(token_id, operation_type, seconds)
        self.token_id = token_id
        self.operation_type = operation_type
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"token {self.token_id} ({self.operation_type}) had not ended {self.seconds:g} s after "
            "its call; give it more time, or send less at once"
        )


class CoreStartError(TokenGateError, OSError):
    """A core process, or its shared memory, could not be set up."""


class WireError(TokenGateError):
    """Bytes from the other process do not follow the wire format."""


class RemoteTraceback(TokenGateError):
    """Carries the traceback text of a core process as the `__cause__` of a user's exception."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


class RemoteError(TokenGateError):
    """Stands for an exception that cannot be brought into the process itself.

    It will not pickle, will not unpickle here, or (as SystemExit and KeyboardInterrupt) would do
    harm when raised in the caller's event loop.

    Attributes:
        type_name: Qualified name of the exception's type.
        message: Its text.
        traceback: The traceback in the core process, formatted.
    """

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(type_name, message, traceback)
        self.type_name = type_name
        self.message = message
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


# What follows handles exceptions of users. Their class, their text and their attributes are code,
# which may raise anything, or say what is not so.


def is_caught_by(error: BaseException, kinds: Iterable[type[BaseException]]) -> bool:
    """Whether an `except` clause with these types would catch an exception.

    As there, only the true types count: neither a `__class__` nor an `__instancecheck__` is asked,
    which are code of the user's.
    """
    true_type = type(error)
    return any(type.__subclasscheck__(kind, true_type) for kind in kinds)


def link(
    error: BaseException, name: Literal["__cause__", "__context__", "__traceback__"], other: Any
) -> None:
    """Make `other` the `__cause__`, `__context__` or `__traceback__` of a user's exception.

    Its class may forbid assignments, as a frozen dataclass does, or have an attribute of that name:
    the slot of `BaseException` itself is not its to forbid.
    """
    _SLOTS[name].__set__(error, other)


def cause_of(error: BaseException) -> BaseException | None:
    """The `__cause__` of a user's exception, whatever its class says."""
    cause: BaseException | None = _SLOTS["__cause__"].__get__(error)
    return cause


def traceback_of(error: BaseException) -> TracebackType | None:
    """The `__traceback__` of a user's exception, whatever its class says."""
    at: TracebackType | None = _SLOTS["__traceback__"].__get__(error)
    return at


def note(error: BaseException, text: str) -> None:
    """Add a note to a user's exception, if its class allows that."""
    _attempt(lambda: error.add_note(text), _nothing)


def belongs_to(error: BaseException, index: int, count: int, name: str) -> None:
    """Mark a user's exception with its item of a map, as far as its class allows that.

    Args:
        error: The exception; gets a note, and the attribute `item_index`.
        index: The item, counted from 0; or the first of those that it may belong to.
        count: How many those are.
        name: The operation that was mapped over the items.
    """
    where = f"item {index}" if count == 1 else f"one of the items {index} to {index + count - 1}"
    note(error, f"This is of {where} that {name!r} was mapped over.")
    _attempt(lambda: setattr(error, "item_index", index), _nothing)


def describe(error: BaseException) -> tuple[str, str]:
    """The qualified type name and the text of an exception, whatever its class does.

    Returns:
        Two plain strings. In place of a text that cannot be had stands what its `__str__` raised.

    Raises:
        KeyboardInterrupt: Ctrl-C came meanwhile. (One that its `__str__` raises is none.)
    """
    return type_name(type(error)), _attempt(lambda: str.__str__(str(error)), _no_text)


def summary(error: BaseException) -> str:
    """Type and text of an exception in a line, like the last line of a traceback.

    Raises:
        KeyboardInterrupt: As for `describe`.
    """
    name, message = describe(error)
    return f"{name}: {message}" if message else name


def type_name(kind: type[Any]) -> str:
    """The qualified name of a class, with its module unless that is of no interest."""
    # By the attributes of `type` itself, since a metaclass may have others of these names. And each
    # as a plain string, since they may be of a subclass of str, which has methods of its own.
    name = str.__str__(_QUALNAME.__get__(kind))
    module = _MODULE.__get__(kind)
    if not issubclass(type(module), str) or (module := str.__str__(module)) in _UNSAID:
        return name
    return f"{module}.{name}"


def short_name(kind: type[Any]) -> str:
    """The `__name__` of a class, whatever its metaclass says."""
    return str.__str__(_NAME.__get__(kind))


_SLOTS: Final[Mapping[str, Any]] = vars(BaseException)
_NAME: Final[Any] = vars(type)["__name__"]
_QUALNAME: Final[Any] = vars(type)["__qualname__"]
_MODULE: Final[Any] = vars(type)["__module__"]
_UNSAID: Final = ("builtins", "__main__")

_T = TypeVar("_T")


def _attempt(code: Callable[[], _T], failed: Callable[[BaseException], _T]) -> _T:
    """Call code of a user's object; if that raises, return the value of `failed(error)`.

    Raises:
        BaseException: What comes from outside: Ctrl-C, or the interruption of a token.
    """
    try:
        return code()
    except BaseException as error:
        if not is_raised_by(code, error):
            raise
        return failed(error)


def _nothing(_error: BaseException) -> None:
    return None


def _no_text(error: BaseException) -> str:
    return f"<its __str__ raised {type_name(type(error))}>"
