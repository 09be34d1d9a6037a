"""Leibniz's series for π as a tree of token functions.

1,000,000 terms → 1,000 chunks of 1,000 → 10 partial sums of 100 chunks → 1 total; every number
travels as text of 50 significant digits. Core processes import this module, so it stays light.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import Final

DIGITS: Final = 50
CHUNK: Final = 1_000
CHUNKS_PER_PARTIAL: Final = 100

_CONTEXT: Final = Context(prec=DIGITS)


def pi_term(index: int) -> str:
    """Return term `index` of the series, (-1)^n / (2n + 1), to 50 digits."""
    with localcontext(_CONTEXT):
        return str(Decimal(-1 if index % 2 else 1) / (2 * index + 1))


def sum_chunk(terms: list[str]) -> str:
    """Return the sum of a chunk of terms."""
    return _sum(terms)


def sum_partial(chunks: list[str]) -> str:
    """Return the sum of a group of chunk sums."""
    return _sum(chunks)


def sum_total(partials: list[str]) -> str:
    """Return four times the sum of the partial sums: pi, as far as the series goes."""
    with localcontext(_CONTEXT):
        return str(4 * Decimal(_sum(partials)))


def _sum(numbers: list[str]) -> str:
    with localcontext(_CONTEXT):
        total = Decimal(0)
        for number in numbers:
            total += Decimal(number)
        return str(total)
