"""How the digits of Leibniz's series are checked.

The check has two independent legs:

- *The arithmetic.* The same sum in whole numbers, scaled by 10^60 and rounded term by term. Before
  its last step the tree has no term and no sum above 1, so a rounding there is at most half a unit
  of the 50th decimal. Each term is rounded once, and once more where it is added, and the total is
  multiplied by 4: that makes 4 x 10^-50 a term, and 10^-49 leaves room for the few sums of sums. A
  whole-number term is off by less than 10^-60. So the two may differ by at most
  terms x (10^-49 + 10^-60).
- *The value.* The terms alternate, fall, and are convex, so what is missing after N terms lies
  strictly between half of the first term left out and half of the last term taken:
  2/(2N + 1) < abs(pi - S) < 2/(2N - 1), and S is too small exactly when N is even. Pi itself comes
  from Machin's formula in whole numbers, which shares nothing with the series.

Euler's correction, 1/N - 1/(4 N^3) + 5/(16 N^5) - 61/(64 N^7), turns the sum into nearly all the
digits that 50-digit arithmetic carries: about 1 in 10^44 for a million terms. The number of digits
that then agree with pi is what the demo shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Final

from tokengate_mp.bench.work.leibniz import DIGITS

_CHECKING: Final = Context(prec=DIGITS + 20)
_SCALE_DIGITS: Final = 60
_DECIMAL_ERROR_PER_TERM: Final = Decimal("1e-49")
_INTEGER_ERROR_PER_TERM: Final = Decimal("1e-60")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of the check of a sum."""

    value: str
    """The sum as the tokens gave it."""
    terms: int
    arithmetic_holds: bool
    """It agrees with the whole-number sum within the rounding bound."""
    bracket_holds: bool
    """Its distance from pi is what is missing after this many terms, with the right sign."""
    plain_digits: int
    """Decimals that agree with pi as they stand."""
    corrected_digits: int
    """Decimals that agree with pi after Euler's correction."""

    @property
    def holds(self) -> bool:
        """True when both legs of the check hold."""
        return self.arithmetic_holds and self.bracket_holds


def check(value: str, terms: int) -> Verdict:
    """Check `value`, the sum of the first `terms` (1 or more) terms, by both legs."""
    with localcontext(_CHECKING):
        total = Decimal(value)
        pi = Decimal(machin_pi()).scaleb(-_SCALE_DIGITS)
        exact = Decimal(integer_sum(terms)).scaleb(-_SCALE_DIGITS)
        allowed = terms * (_DECIMAL_ERROR_PER_TERM + _INTEGER_ERROR_PER_TERM)
        missing = (pi - total) if terms % 2 == 0 else (total - pi)
        return Verdict(
            value=value,
            terms=terms,
            arithmetic_holds=abs(total - exact) <= allowed,
            bracket_holds=Decimal(2) / (2 * terms + 1) < missing < Decimal(2) / (2 * terms - 1),
            plain_digits=_agreeing(total, pi),
            corrected_digits=_agreeing(total + _euler_correction(terms), pi),
        )


def integer_sum(terms: int) -> int:
    """Return 4 x the sum of the first `terms` terms, x 10^60, each term rounded towards zero."""
    one: int = 4 * 10**_SCALE_DIGITS
    return sum(one // n for n in range(1, 2 * terms, 4)) - sum(
        one // n for n in range(3, 2 * terms, 4)
    )


def machin_pi() -> int:
    """Return pi x 10^60, rounded down: 16 arctan(1/5) - 4 arctan(1/239) with ten guard digits."""
    guard: int = 10**10
    one: int = 10**_SCALE_DIGITS * guard
    return (16 * _arctan_inverse(5, one) - 4 * _arctan_inverse(239, one)) // guard


def _arctan_inverse(x: int, one: int) -> int:
    power = one // x
    total, divisor, sign = power, 3, -1
    while power:
        power //= x * x
        total += sign * (power // divisor)
        divisor, sign = divisor + 2, -sign
    return total


def _euler_correction(terms: int) -> Decimal:
    n = Decimal(terms)
    size = 1 / n - 1 / (4 * n**3) + 5 / (16 * n**5) - 61 / (64 * n**7)
    return size if terms % 2 == 0 else -size


def _agreeing(value: Decimal, pi: Decimal) -> int:
    """Return how many decimals of `value` are right: its error is at most 10^-that."""
    error = abs(value - pi)
    return _SCALE_DIGITS if error == 0 else max(0, -error.adjusted() - 1)
