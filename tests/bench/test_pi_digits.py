from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from tokengate_mp.bench.demos.digits import check, integer_sum, machin_pi
from tokengate_mp.bench.demos.pi import token_count
from tokengate_mp.bench.work.leibniz import (
    CHUNK,
    CHUNKS_PER_PARTIAL,
    pi_term,
    sum_chunk,
    sum_partial,
    sum_total,
)


def by_hand(terms):
    """Sum the tree in this process."""
    values = [pi_term(n) for n in range(terms)]
    chunks = [sum_chunk(values[i : i + CHUNK]) for i in range(0, terms, CHUNK)]
    step = CHUNKS_PER_PARTIAL
    partials = [sum_partial(chunks[i : i + step]) for i in range(0, len(chunks), step)]
    return sum_total(partials)


def nudged(value, by):
    """Add a little to a number that is kept as text."""
    with localcontext(prec=80):
        return str(Decimal(value) + Decimal(by))


def test_pi_term_has_fifty_digits_and_the_right_sign():
    """The first terms are 1, minus a third, a fifth, each to 50 significant digits."""
    assert pi_term(0) == "1"
    assert pi_term(1) == "-0." + "3" * 50
    assert pi_term(2) == "0.2"


def test_machin_gives_pi():
    """Machin's formula gives the known digits of π, rounded down."""
    assert machin_pi() == 3141592653589793238462643383279502884197169399375105820974944


def test_integer_sum_is_the_series():
    """Two terms are 4 - 4/3; three add 4/5."""
    assert integer_sum(1) == 4 * 10**60
    assert integer_sum(2) == 4 * 10**60 - 4 * 10**60 // 3
    assert integer_sum(3) == 4 * 10**60 - 4 * 10**60 // 3 + 4 * 10**60 // 5


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 7, 10, 999, 1000, 1001, 2500])
def test_a_right_sum_passes_both_legs(terms):
    """What the tree gives agrees with the whole-number sum and lies in the bracket."""
    verdict = check(by_hand(terms), terms)
    assert verdict.arithmetic_holds
    assert verdict.bracket_holds
    assert verdict.holds


def test_the_digits_are_those_that_the_series_promises():
    """1,000 terms give 3 decimals as they stand, and 26 with Euler's correction."""
    verdict = check(by_hand(1000), 1000)
    assert (verdict.plain_digits, verdict.corrected_digits) == (3, 26)


def test_one_wrong_digit_far_out_is_found():
    """A change in the 40th decimal is more than rounding can explain."""
    verdict = check(nudged(by_hand(1000), "1e-40"), 1000)
    assert not verdict.arithmetic_holds
    assert not verdict.holds


def test_a_lost_term_is_found_by_both_legs():
    """The sum of one term less is neither the whole-number sum nor where π says it should be."""
    verdict = check(by_hand(999), 1000)
    assert not verdict.arithmetic_holds
    assert not verdict.bracket_holds


@pytest.mark.parametrize(
    ("terms", "tokens"), [(1, 4), (1000, 1003), (1001, 1005), (1_000_000, 1_001_011)]
)
def test_the_tree_has_a_token_for_every_node(terms, tokens):
    """Terms, chunks, partial sums and the total are counted."""
    assert token_count(terms) == tokens
