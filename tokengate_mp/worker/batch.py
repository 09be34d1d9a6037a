"""A batch: one token that calls a function for many items.

A short call costs less than a token does. So what is mapped over many items travels in batches,
and each comes back as one `BatchOutcome`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import starmap
from time import monotonic_ns
from typing import Any

from tokengate_mp.errors import PayloadError, summary
from tokengate_mp.wire.batches import BatchOutcome, encode_batch
from tokengate_mp.wire.codec import NOT_MSGPACK, PROTOCOL, SCALARS, dumps, to_pickle
from tokengate_mp.wire.definition import define, resolve
from tokengate_mp.worker.interrupts import Interrupted
from tokengate_mp.worker.invoke import failure


class ManyCalls:
    """Calls a function for each item of a batch.

    Args:
        function: The function.
    """

    __slots__ = ("__weakref__", "_function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __tokengate_define__(self) -> bytes:
        """As it travels: as its function would by itself."""
        return dumps(self, PROTOCOL)

    def __reduce__(self) -> tuple[Any, ...]:
        return _many_calls, (define(self._function),)

    def __call__(self, width: int, *flat: object) -> bytes:
        """Call the function for each item.

        Args:
            width: How many arguments each call takes.
            flat: The arguments of all calls, one after the other.

        Returns:
            An encoded `BatchOutcome`. A call that raises ends with its failure, and the others
            are made.

        Raises:
            Interrupted: The token was ended from outside.
            PayloadError: All the results together cannot be encoded.
        """
        values: list[Any] = []
        raised: list[int] = []
        count = len(flat) // width
        rows = zip(*[iter(flat)] * width, strict=True)
        calls = map(self._function, flat) if width == 1 else starmap(self._function, rows)
        started = monotonic_ns()
        while len(values) < count:
            try:
                # A list keeps what it was extended by before a call raises, and `calls` goes on
                # behind that call.
                values.extend(calls)
                if len(values) == count:
                    break
                failed = _failure(StopIteration())  # which, raised in a call, looks like the end
            except Interrupted:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it raises is its outcome
                failed = _failure(error)
            raised.append(len(values))
            values.append(failed)
        nanoseconds = monotonic_ns() - started
        try:
            return _encoded(nanoseconds, values, raised)
        except Interrupted:
            raise
        except BaseException as error:
            # Never as itself: what a batch raises before its first call looks like that, and the
            # calls would be made anew.
            raise PayloadError(
                f"the results of {len(values)} calls cannot be sent back: {summary(error)}"
            ) from error


def _many_calls(definition: bytes) -> ManyCalls:
    return ManyCalls(resolve(definition))


def _failure(error: BaseException) -> bytes:
    at = error.__traceback__
    return failure(error.with_traceback(at.tb_next) if at is not None else error)


def _encoded(nanoseconds: int, values: list[Any], raised: list[int]) -> bytes:
    pickled: list[int] = []
    places = [place for place, kind in enumerate(map(type, values)) if kind not in SCALARS]
    if places:
        raised = _pickle(values, places, raised, pickled)
    try:
        return encode_batch(BatchOutcome(nanoseconds, values, pickled, raised))
    except NOT_MSGPACK:  # a scalar, of those that have to be pickled after all
        scalars = sorted({*range(len(values))}.difference(pickled, raised))
    raised = _pickle(values, scalars, raised, pickled)
    return encode_batch(BatchOutcome(nanoseconds, values, pickled, raised))


def _pickle(
    values: list[Any], places: Iterable[int], raised: list[int], pickled: list[int]
) -> list[int]:
    """Pickle the values in these places; those that cannot be raise, and are added to `raised`."""
    failed = set(raised)
    for place in places:
        value = values[place]
        try:
            values[place] = to_pickle(value)
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001 - pickling runs user code
            refused = PayloadError(
                f"the result, of type {type(value).__name__}, cannot be sent back: {summary(error)}"
            )
            refused.__cause__ = error
            values[place] = failure(refused)
            failed.add(place)
        else:
            pickled.append(place)
    return sorted(failed)
