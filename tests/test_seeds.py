"""Seeds, and the options that they come from."""

from __future__ import annotations

import hashlib

import pytest

from tokengate_mp import task_token_guard
from tokengate_mp.config.seeds import Lead, freeze


def test_a_seed_is_the_digest_of_id_and_calls():
    """It is SHA-256 over the token's id, a colon, and what it calls, in hex; or a part of that."""
    whole = hashlib.sha256(f"ab-1:{freeze(['f'])}".encode()).hexdigest()
    seeds = {policy: Lead(freeze(["f"]), policy).seed("ab-1") for policy in ("full", "short")}
    assert seeds == {"full": whole, "short": whole[:16]}
    assert Lead(freeze(["f"]), "minimal").seed("ab-1") == whole[:8]
    assert len(whole) == 64


def test_the_fast_policy_is_blake2s():
    """The policy "fast" is BLAKE2s of 8 bytes."""
    digest = hashlib.blake2s(f"ab-1:{freeze([])}".encode(), digest_size=8).hexdigest()
    assert Lead(freeze([]), "fast").seed("ab-1") == digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (("a", 1), ["a", 1]),
        ([len], [len]),
    ],
)
def test_freezing_knows_no_order_where_there_is_none(one, other):
    """Equal calls are equal as text, whatever order a mapping or set has them in."""
    assert freeze(one) == freeze(other)
    assert freeze(one) != freeze([one])


def test_digest_policies_are_listed():
    """A policy that there is not is refused at decoration, with those that there are."""
    with pytest.raises(ValueError, match="'full', 'short', 'fast', 'minimal'"):
        task_token_guard("x", {"digest_policy": "md5"}, external_calls=["f"])
    with pytest.raises(ValueError, match="without external_calls"):
        task_token_guard("x", {"digest_policy": "fast"})
    with pytest.raises(ValueError, match="full"):
        task_token_guard("x", digest_policy="md5", external_calls=["f"])
    as_a_keyword = task_token_guard("x", digest_policy="fast", external_calls=["f"])(len)
    as_a_tag = task_token_guard("x", {"digest_policy": "fast"}, external_calls=["f"])(len)
    assert as_a_keyword.token_options == as_a_tag.token_options


def test_a_lead_has_no_anchor():
    """Two options that both say where a token goes are refused at decoration."""
    with pytest.raises(ValueError, match="sticky_anchor and external_calls"):
        task_token_guard("x", sticky_anchor="a", external_calls=["f"])
    with pytest.raises(ValueError, match="sticky_anchor and external_calls"):
        task_token_guard("x", {"sticky_anchor": "a", "external_calls": ["f"]})


def test_external_calls_are_a_list():
    """One name is not a list of names."""
    with pytest.raises(TypeError, match="must be a list"):
        task_token_guard("x", external_calls="f")
