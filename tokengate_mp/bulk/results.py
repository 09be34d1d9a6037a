"""The results in a batch that came back, item by item."""

from __future__ import annotations

from typing import Any, Final

from tokengate_mp.bulk.feed import Batch
from tokengate_mp.errors import PayloadError, belongs_to
from tokengate_mp.wire.protocol import delivery


class Raised:
    """Stands among results for a missing result.

    Attributes:
        error: The reason.
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
    """Take the results out of a batch, in order.

    Args:
        batch: The batch; empty afterwards.
        name: The operation, for errors.

    Returns:
        The results; and whether they are `PLAIN`, `WHOLE` or `TROUBLED`.
    """
    outcome, batch.outcome = batch.outcome, None
    first, count = batch.first, batch.count
    if outcome is None:
        error = batch.error
        assert error is not None, f"nothing came of items {first} to {first + count - 1}"
        belongs_to(error, first, count, name)
        return [Raised(error) for _ in range(count)], TROUBLED
    values = outcome.values
    if not outcome.pickled and not outcome.raised:
        return values, PLAIN
    kind = TROUBLED if outcome.raised else WHOLE
    for position in outcome.pickled:
        try:
            values[position] = delivery.result(values[position])
        except PayloadError as error:
            belongs_to(error, first + position, 1, name)
            values[position] = Raised(error)
            kind = TROUBLED
    for position in outcome.raised:
        failure = delivery.raised(values[position])
        belongs_to(failure, first + position, 1, name)
        values[position] = Raised(failure)
    return values, kind
