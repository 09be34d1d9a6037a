"""Arguments with placeholders: places that the value of another token will fill.

A token among the arguments of a call, wherever in them, stands for its value. Pickle finds it on
its way through them, and leaves a placeholder there: a call of `_value` with a number. When all
values are there, the pickle and they are put into one: `Filled`. The core process unpickles that,
and so the values, and then the arguments, in which each placeholder takes its value.

A value goes as it came, in the bytes that the core process made which it is from (`Encoded`): this
process neither loads nor pickles it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol, Self

from tokengate_mp.wire.payload.attachments import attachments_of
from tokengate_mp.wire.payload.buffers import current_packing
from tokengate_mp.wire.payload.codec import loads


class Needed(Protocol):
    """A token, as far as the arguments of a call are concerned."""

    number: int

    def arrived_value(self) -> object:
        """Return the value, or the value `Encoded`, if the token has ended; else `NOT_YET`."""


NOT_YET: Final = object()
"""What stands for a value that is not there."""

FILLABLE: Final[set[type]] = set()
"""The exact types of tokens, which register here: the decorator must not load them."""


class Encoded:
    """A value still encoded; pickles as a call that loads the value.

    Attributes:
        pickled: The bytes.
    """

    __slots__ = ("pickled",)

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        pickled = self.pickled
        if type(pickled) is not bytes:
            packing = current_packing()
            if packing is not None:
                for each in attachments_of(pickled):
                    packing.add_attachment(each)
            pickled = bytes(pickled)
        return loads, (pickled,)


class Placeholders:
    """Collects tokens while the arguments of a call are pickled.

    Args:
        vouch: Raises if a token is not one whose value can come here.

    Attributes:
        tokens: Those whose values are not there yet, in the order of their placeholders.
    """

    __slots__ = ("_at", "_before", "_vouch", "tokens")

    def __init__(self, vouch: Callable[[Any], None]) -> None:
        self.tokens: list[Needed] = []
        self._at: dict[int, int] = {}
        self._vouch = vouch
        self._before: Placeholders | None = None

    def __enter__(self) -> Self:
        self._before, _here.placeholders = _here.placeholders, self
        return self

    def __exit__(self, *_: object) -> None:
        _here.placeholders = self._before

    def stand_in(self, token: Needed) -> tuple[Any, ...]:
        """Reduce a token to its value, or else to a placeholder.

        Raises:
            PayloadError: Its value will never be here.
        """
        self._vouch(token)
        value = token.arrived_value()
        if type(value) is Encoded:  # (`__class__` of a user's value may be anything)
            return value.__reduce__()
        if value is not NOT_YET:
            return _same, (value,)
        at = self._at.get(token.number)
        if at is None:  # the arguments may be pickled twice: see `codec.to_pickle`
            at = self._at[token.number] = len(self.tokens)
            self.tokens.append(token)
        return _value, (at,)


class _Here(threading.local):
    """The arguments that a thread pickles or loads.

    Attributes:
        placeholders: Collects the tokens that are pickled.
        values: The values of the placeholders that are unpickled.
    """

    placeholders: Placeholders | None = None
    values: list[Any] | None = None


_here = _Here()


def reduce_token(token: Needed) -> tuple[Any, ...]:
    """Reduce a token to its value or a placeholder, as an argument of a call.

    Raises:
        TypeError: It is not pickled as an argument of a call.
        PayloadError: Its value will never be here.
    """
    placeholders = _here.placeholders
    if placeholders is None:
        raise TypeError(
            "a token is pickled only as an argument of a call, which then gets its value; "
            "elsewhere, in the items of a map too, await it and pass the result"
        )
    return placeholders.stand_in(token)


class Filled:
    """Pickled arguments with the values of their placeholders, which loads as the arguments."""

    __slots__ = ("_arguments", "_values")

    def __init__(self, arguments: bytes, values: list[Any]) -> None:
        self._arguments = arguments
        self._values = values

    def __reduce__(self) -> tuple[Any, ...]:
        return _filled, (bytes(self._arguments), self._values)


def _filled(arguments: bytes, values: list[Any]) -> Any:
    before, _here.values = _here.values, values
    try:
        return loads(arguments)
    finally:
        _here.values = before


def _value(at: int) -> Any:
    values = _here.values
    if values is None:
        raise TypeError("the value of a token was asked for outside the arguments it belongs to")
    return values[at]


def _same(value: Any) -> Any:
    return value
