"""Arguments and results as bytes, type-exact both ways.

What comes out is what went in: a tuple stays a tuple, True stays True, a subclass stays itself.
msgpack alone would turn tuples and sets into lists and subclasses into their bases, without a
word, so it carries only values whose *exact* type is one of `SCALARS`. Everything else is a
pickle (protocol 5). Where that fails, or where it refers to `__main__`, which in a core process is
another module, it is a pickle that carries functions and classes by value (see `by_value`).
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tokengate_mp.errors import PayloadError, describe, short_name
from tokengate_mp.wire.payload.pickle_format import PROTOCOL, means_another

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types that msgpack keeps exactly, given that `type(value)` is one of them.

(Ints beyond 64 bits and strings with lone surrogates are refused by msgspec, and then pickled.)
"""

NOT_MSGPACK: Final = (OverflowError, UnicodeEncodeError, msgspec.EncodeError, MemoryError)
"""What msgspec raises for one of `SCALARS` that it cannot encode.

In this order: an int of more than 64 bits; lone surrogates; more than `records.MAX_PAYLOAD` bytes;
anything, where memory is short. Pickled, it then comes out right, or is refused for what it is.
"""


def are_scalars(values: Sequence[Any]) -> bool:
    """Whether the exact type of each value is in `SCALARS`.

    For many values: most often all are of one type, and to count that takes half the time.
    """
    kinds = [*map(type, values)]
    if kinds and kinds[0] in SCALARS and kinds.count(kinds[0]) == len(kinds):
        return True
    return SCALARS.issuperset(kinds)


dumps: Callable[..., bytes] = pickle.dumps
loads: Callable[[bytes], Any] = pickle.loads


def by_value(
    value: object,
    protocol: int = PROTOCOL,
    *,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
) -> bytes:
    """Pickle `value` with functions and classes of `__main__`, or nested, by value.

    Args:
        value: The value.
        protocol: Always `PROTOCOL`.
        buffer_callback: As for `pickle.dumps`.

    Raises:
        Exception: Whatever pickling raises.
    """
    from tokengate_mp.wire.payload.by_value import dumps as dump  # noqa: PLC0415 - 40 ms, seldom needed

    assert protocol == PROTOCOL, "there is one"
    return dump(value, buffer_callback)


def to_pickle(value: object) -> bytes:
    """Pickle `value` so that both processes can load the pickle.

    Raises:
        Exception: Whatever pickling raises; user code takes part in it.
    """
    try:
        pickled = dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001 - by value it may work; if not, that raises
        return by_value(value)
    return by_value(value) if means_another(pickled) else pickled


def arguments_to_pickle(  # noqa: PLR0913 - four for the error alone
    operation: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    names: Callable[[], list[str]],
    pack: Callable[[tuple[Any, ...], dict[str, Any]], bytes] | None = None,
    *,
    applied: bool = False,
) -> bytes:
    """Pickle the arguments of a call as `(args, kwargs)`.

    Args:
        operation: The operation_type, for the error.
        args: Positional arguments.
        kwargs: Keyword arguments.
        names: Gives the names of the positional parameters, for the error.
        pack: Makes the pickle, if it is to be more than one.
        applied: Whether the first is the function, which travels with its arguments.

    Raises:
        PayloadError: They cannot be pickled; it names the argument.
    """
    if pack is None:
        pack = _call_to_pickle
    try:
        return pack(args, dict(kwargs))
    except Exception as error:
        from tokengate_mp.wire.payload.diagnosis.path import advice  # noqa: PLC0415 - for errors alone

        culprit, cause = _culprit(args, kwargs, names, pack, error, applied=applied)
        raise PayloadError(
            f"{operation!r}: {culprit} cannot be sent to a core process: "
            f"{': '.join(describe(cause))}{advice(cause)}"
        ) from error


def _call_to_pickle(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return to_pickle((args, kwargs))


def _culprit(  # noqa: PLR0913 - those of the call, and its error
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    names: Callable[[], list[str]],
    pack: Callable[[tuple[Any, ...], dict[str, Any]], bytes],
    error: Exception,
    *,
    applied: bool,
) -> tuple[str, BaseException]:
    """Return the words for the argument that cannot be pickled, and the error about that."""
    from tokengate_mp.wire.payload.diagnosis.path import find_culprit  # noqa: PLC0415 - as above

    if applied:
        named = ["the function", *[f"argument {at}" for at in range(1, len(args))]]
    else:
        named = [f"argument {at}" for at in range(1, len(args) + 1)]
        for at, name in enumerate(names()[: len(args)]):
            named[at] += f" ({name!r})"
    named += [f"argument {key!r}" for key in kwargs]
    for label, value in zip(named, [*args, *kwargs.values()], strict=True):
        try:
            pack((value,), {})
        except Exception as its_own:  # noqa: BLE001 - it is looked into
            found = find_culprit(value, its_own, to_pickle)
            return f"{label}{found.way}, of type {short_name(type(found.thing))},", found.error
    return "the arguments, together,", error
