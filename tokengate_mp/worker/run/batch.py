"""A batch: one token that calls a function for many items.

A short call costs less than a token does. So what is mapped over many items travels in batches,
and each comes back as one `BatchOutcome`.

How long a batch will take is a guess. One that takes too long is cut short (see `cutting`), and the
items that are left go to whichever core is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic_ns
from typing import Any, Final

from tokengate_mp import this_process
from tokengate_mp.errors import PayloadError, summary
from tokengate_mp.wire.payload.codec import (
    NOT_MSGPACK,
    SCALARS,
    are_scalars,
    dumps,
    to_pickle,
)
from tokengate_mp.wire.payload.definition import define, resolve
from tokengate_mp.wire.payload.pickle_format import PROTOCOL
from tokengate_mp.wire.protocol.batches import RANGE, BatchOutcome, encode_batch
from tokengate_mp.wire.protocol.failures import failure, refused_result
from tokengate_mp.worker.run.cutting import cuttable
from tokengate_mp.worker.run.interrupts import Interrupted
from tokengate_mp.worker.run.invoke import ABOVE

_ABOVE: Final = (__name__, *ABOVE)
"""Modules whose frames, at the top of a traceback, say nothing to the user."""


class ManyCalls:
    """Calls a function for each item of a batch.

    Args:
        function: The function.
        most_ns: How long a batch may take, ns, before it is cut short; None if it never is.
    """

    __slots__ = ("__weakref__", "_function", "_most_ns")

    def __init__(self, function: Callable[..., Any], most_ns: int | None = None) -> None:
        self._function = function
        self._most_ns = most_ns

    def __tokengate_define__(self) -> bytes:
        """Pickle the wrapper, with its function as a definition."""
        return dumps(self, PROTOCOL)

    def __reduce__(self) -> tuple[Any, ...]:
        return _many_calls, (define(self._function), self._most_ns)

    def __call__(self, width: int, items: Sequence[Any]) -> bytes:
        """Call the function for each item.

        Args:
            width: How many arguments each call takes, or `RANGE`.
            items: The arguments of all calls, one after the other; or start, stop and step.

        Returns:
            An encoded `BatchOutcome`, of one item at least. A call that raises ends with its
            failure, and the others are made.

        Raises:
            Interrupted: The token was ended from outside.
            PayloadError: All the results together cannot be encoded.
        """
        values: list[Any] = []
        raised: list[int] = []
        if width == RANGE:
            width, items = 1, range(*items)
        left = list(items) if width == 1 else list(zip(*[iter(items)] * width, strict=True))
        started = monotonic_ns()
        if self._most_ns is None:
            self._call_each(width, iter(left), values, raised)
        else:
            token = this_process.calls.token_number() if this_process.calls else 0
            with cuttable(token, left, started + self._most_ns) as rest:
                self._call_each(width, rest, values, raised)
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

    def _call_each(
        self, width: int, rest: Iterator[Any], values: list[Any], raised: list[int]
    ) -> None:
        """Call the function with each item; `raised` gets the indices of failures in `values`."""
        function, append = self._function, values.append
        while True:
            try:
                # As fast as `map` is, or faster; which takes a StopIteration of a call for the end.
                if width == 1:
                    for item in rest:
                        append(function(item))
                else:
                    for row in rest:
                        append(function(*row))
            except Interrupted:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it raises is its outcome
                failed = failure(error, _ABOVE)
            else:
                return
            raised.append(len(values))
            append(failed)


def _many_calls(definition: bytes, most_ns: int | None) -> ManyCalls:
    return ManyCalls(resolve(definition), most_ns)


def _encoded(nanoseconds: int, values: list[Any], raised: list[int]) -> bytes:
    pickled: list[int] = []
    if not are_scalars(values):
        others = [index for index, kind in enumerate(map(type, values)) if kind not in SCALARS]
        raised = _pickle(values, others, raised, pickled)
    try:
        return encode_batch(BatchOutcome(nanoseconds, values, pickled, raised))
    except NOT_MSGPACK:  # a scalar, of those that have to be pickled after all
        scalars = sorted({*range(len(values))}.difference(pickled, raised))
    raised = _pickle(values, scalars, raised, pickled)
    return encode_batch(BatchOutcome(nanoseconds, values, pickled, raised))


def _pickle(
    values: list[Any], indices: Iterable[int], raised: list[int], pickled: list[int]
) -> list[int]:
    """Pickle the values at some indices; return `raised` with the indices where that failed."""
    failed = set(raised)
    for index in indices:
        value = values[index]
        try:
            values[index] = to_pickle(value)
        except Interrupted:
            raise
        except BaseException as error:  # noqa: BLE001 - pickling runs user code
            values[index] = refused_result(value, error)
            failed.add(index)
        else:
            pickled.append(index)
    return sorted(failed)
