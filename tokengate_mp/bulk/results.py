"""What a batch that came back holds, item by item."""

from __future__ import annotations

from typing import Any, Final

from tokengate_mp.bulk.feed import Batch
from tokengate_mp.errors import PayloadError, note
from tokengate_mp.wire import delivery


class Raised:
    """Stands among results for one that is not there.

    Attributes:
        error: Why.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


PLAIN: Final = 0
"""All results are scalars."""
WHOLE: Final = 1
"""All results are there."""
TROUBLED: Final = 2
"""There is a `Raised` among the results."""


def opened(batch: Batch, name: str) -> tuple[list[Any], int]:
    """The results of a batch, in order.

    Args:
        batch: The batch. It is emptied.
        name: What was called, for the errors.

    Returns:
        The results; and whether they are `PLAIN`, `WHOLE` or `TROUBLED`.
    """
    outcome, batch.outcome = batch.outcome, None
    first, count = batch.first, batch.count
    if outcome is None:
        error = batch.error
        assert error is not None, f"nothing came of items {first} to {first + count - 1}"
        _mark(error, first, count, name)
        return [Raised(error) for _ in range(count)], TROUBLED
    values = outcome.values
    if not outcome.pickled and not outcome.raised:
        return values, PLAIN
    kind = TROUBLED if outcome.raised else WHOLE
    for place in outcome.pickled:
        try:
            values[place] = delivery.result(values[place])
        except PayloadError as error:
            _mark(error, first + place, 1, name)
            values[place] = Raised(error)
            kind = TROUBLED
    for place in outcome.raised:
        failure = delivery.raised(values[place])
        _mark(failure, first + place, 1, name)
        values[place] = Raised(failure)
    return values, kind


def _mark(error: BaseException, index: int, count: int, name: str) -> None:
    """Say in the error which item it belongs to."""
    where = f"item {index}" if count == 1 else f"one of the items {index} to {index + count - 1}"
    note(error, f"This is of {where} that {name!r} was mapped over.")
    try:
        error.item_index = index  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001, S110 - it has slots, or a __setattr__ of its own
        pass
