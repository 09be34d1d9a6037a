"""The search for the part of a value that cannot be pickled.

Part after part is pickled by itself, until one fails as the whole did; then the parts of that. It
is done after a failure, and for two tenths of a second at most: an error is clear enough without a
way, and the event loop has other things to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from types import FunctionType
from typing import Any, Final, NamedTuple

from tokengate_mp.errors import PayloadError, describe, short_name
from tokengate_mp.sigint import is_raised_by
from tokengate_mp.wire.payload.diagnosis.parts import Part, parts_of

_SECONDS: Final = 0.1
_DEEPEST: Final = 60
_FEW: Final = 32
"""Of more items than this, the one that fails is sought by halves."""

_PLAIN: Final = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})
_OF_FUNCTIONS: Final = ". Define it at the top of a module, or do without what it refers to."
_OF_VALUES: Final = (
    ". Pass what it is made from instead (a path, a setting, plain data) and build it inside the "
    "function."
)
_INHERITED: Final = ". Give it to the core processes as one of the `initargs` of an `initializer`."


SAID: Final = ("; pass ", "; give ", "; start ", "; connect ", "; run ", "; await ")
"""How errors of our own reducers go on: with what to do."""


class Culprit(NamedTuple):
    """The innermost part that cannot be pickled.

    Attributes:
        way: The words for the way to it.
        thing: The part.
        error: What pickling it raised.
    """

    way: str
    thing: Any
    error: BaseException


class _Search:
    """A search for the culprit.

    Args:
        to_pickle: Pickles a value, or raises.
        error: What pickling the whole raised.
        same: Whether only parts count that fail with the same words: the first that fails.
    """

    def __init__(
        self, to_pickle: Callable[[Any], object], error: BaseException, *, same: bool
    ) -> None:
        self._to_pickle = to_pickle
        self._words = describe(error) if same else None
        self._until = monotonic() + _SECONDS
        self._seen: dict[int, Any] = {}

    def culprit(
        self, thing: Any, error: Exception, way: str = "", depth: int = 0
    ) -> Culprit | None:
        """Find the culprit; None if all parts that fail have been looked into before.

        Args:
            thing: A value that cannot be pickled.
            error: What pickling it raised.
            way: The words for the way to it.
            depth: How deep it is.
        """
        self._seen[id(thing)] = thing
        if depth == _DEEPEST:
            return Culprit(way, thing, error)
        led_back = False
        for words, part in self._candidates(thing):
            if id(part) in self._seen:
                led_back = led_back or type(part) not in _PLAIN
                continue
            if monotonic() > self._until:
                break
            failure = self._failure(part)
            if failure is None:
                continue
            found = self.culprit(part, failure, way + words, depth + 1)
            if found is not None:
                return found
            led_back = True
        return None if led_back and depth else Culprit(way, thing, error)

    def _candidates(self, thing: Any) -> Sequence[Part]:
        def look() -> list[Part]:
            return [each for each in parts_of(thing) if type(each[1]) not in _PLAIN]

        try:
            parts = look()
        except BaseException as error:
            if not is_raised_by(look, error):  # a user's object may do anything when looked at
                raise
            return ()
        while len(parts) > _FEW and monotonic() < self._until:
            half = len(parts) // 2
            first = [part for _, part in parts[:half]]
            parts = parts[:half] if self._failure(first) is not None else parts[half:]
        return parts

    def _failure(self, part: Any) -> Exception | None:
        try:
            self._to_pickle(part)
        except Exception as error:  # noqa: BLE001 - it is the answer
            return error if self._words in {None, describe(error)} else None
        except BaseException as error:
            if not is_raised_by(lambda: self._to_pickle(part), error):
                raise
        return None  # or it raises what is no `Exception`, which the whole did not


def find_culprit(thing: Any, error: BaseException, to_pickle: Callable[[Any], object]) -> Culprit:
    """Find the innermost part of a value that cannot be pickled.

    Args:
        thing: The value.
        error: What pickling it raised.
        to_pickle: Pickles a value, or raises.
    """
    about_the_whole = isinstance(error, (PayloadError, RecursionError, MemoryError))
    if about_the_whole or not isinstance(error, Exception):
        return Culprit("", thing, error)
    for same in (True, False):
        found = _Search(to_pickle, error, same=same).culprit(thing, error)
        if found is not None and found.way:
            return found
        if _is_inherited(error):
            break  # what a lock consists of is no news to anybody
    return Culprit("", thing, error)


def refused_function(
    operation: str, function: Any, error: Exception, to_pickle: Callable[[Any], object]
) -> PayloadError:
    """Make the error of a function that cannot be sent, with the way to what cannot.

    Args:
        operation: The operation_type of its calls.
        function: The function.
        error: What pickling it raised.
        to_pickle: Pickles a value, or raises.
    """
    culprit = find_culprit(function, error, to_pickle)
    way = ""
    if culprit.way:
        named = isinstance(function, (FunctionType, type))
        name = function.__qualname__ if named else short_name(type(function))
        way = f"{name}{culprit.way}, of type {short_name(type(culprit.thing))}: "
    return PayloadError(
        f"{operation!r}: the function cannot be sent to a core process: {way}"
        f"{': '.join(describe(culprit.error))}{advice(culprit.error, _OF_FUNCTIONS)}"
    )


def refused_items(
    operation: str,
    width: int,
    items: Sequence[Any],
    error: Exception,
    to_pickle: Callable[[Any], object],
) -> PayloadError:
    """Make the error of a batch whose arguments cannot be sent, with the way to what cannot.

    Args:
        operation: The operation_type of the calls.
        width: How many arguments each call takes.
        items: The arguments of all calls, one after the other.
        error: What pickling them raised.
        to_pickle: Pickles a value, or raises.
    """
    culprit = find_culprit([*items], error, to_pickle)
    at, bracket, rest = culprit.way.removeprefix("[").partition("]")
    which = "an item" if width == 1 else f"argument {int(at or 0) % width + 1} of an item"
    words = f"{which}{rest}, of type {short_name(type(culprit.thing))},"
    return PayloadError(
        f"{operation!r}: {words if bracket else 'the arguments'} cannot be sent to a core process: "
        f"{': '.join(describe(culprit.error))}{advice(culprit.error)}"
    )


def advice(error: BaseException, otherwise: str = _OF_VALUES) -> str:
    """Return what to do about an error of pickling, unless the error says so itself.

    Args:
        error: The error.
        otherwise: What to do if there is nothing special about it.
    """
    if _is_inherited(error):
        return _INHERITED
    text = describe(error)[1]
    if isinstance(error, PayloadError) or any(words in text for words in SAID):
        return ""
    return otherwise


def _is_inherited(error: BaseException) -> bool:
    """Whether multiprocessing refused what child processes may only inherit."""
    return type(error) is RuntimeError and "through inheritance" in describe(error)[1]
