"""Programs of all shapes with exclusive tokens in them: each comes to an end, and is alone."""

from __future__ import annotations

import random

import pytest
import witnesses

from tokengate_mp import OperationsCoordinator, TokenKilled, TokenTimeout, WorkerLost

KINDS = [
    witnesses.shared,
    witnesses.alone,
    witnesses.shared_lead,
    witnesses.alone_lead,
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_exclusive_tokens_are_alone_and_nothing_hangs(cores, threads, seed):
    """Tokens of all kinds make and await tokens of all kinds: none is beside an exclusive one."""
    chance = random.Random(seed * 100 + cores * 10 + threads)
    with OperationsCoordinator(cores=cores, threads_per_core=threads) as coordinator:
        tokens = []
        for _ in range(40):
            number = chance.randrange(1 << 30)
            if chance.randrange(5):
                tokens.append(chance.choice(KINDS)(number, 2))
            else:
                tokens.append(coordinator.submit(witnesses.plain, number, 2))
        for token in tokens:
            assert token.get(40) >= 1


@pytest.mark.parametrize("seed", range(4))
def test_what_is_killed_takes_no_exclusive_token_with_it(seed):
    """Tokens that are ended from outside leave exclusive ones alone, and nothing hangs."""
    chance = random.Random(seed)
    with OperationsCoordinator(cores=2, threads_per_core=3, grace=30) as coordinator:
        tokens = []
        for n in range(40):
            make = chance.choice(KINDS)
            if n % 4 == 0:
                make = make.options(timeout=chance.random() * 0.05)
            tokens.append(make(chance.randrange(1 << 30), 2))
        for token in tokens[::3]:
            token.kill("enough")
        for token in tokens:
            try:
                assert token.get(40) >= 1
            except (TokenKilled, TokenTimeout):
                continue
            except WorkerLost as error:  # pragma: no cover - a failure, with its reason
                pytest.fail(f"{token!r}: {error}")
        assert [core["restarts"] for core in coordinator.get_stats()["cores"]] == [0, 0]
