from __future__ import annotations

import gc

import pytest
from engine_work import broken, double, idempotent, limited, sticky, work

from tokengate_mp import (
    DependencyFailed,
    OperationBlocked,
    TokenKilled,
    TokenState,
    task_token_guard,
)
from tokengate_mp.engine.outbound.intake import HUNGRY_CALLS
from tokengate_mp.wire.payload.definition import resolve


def test_the_first_call_of_a_burst_is_sent_at_once(make_rig):
    """Without the loop having run; those that follow wait for the turn."""
    rig = make_rig()
    tokens = [work(n) for n in range(3)]
    assert rig.core().held == [tokens[0].number]
    rig.run()
    assert rig.core().held == [token.number for token in tokens]


def test_a_long_burst_is_sent_while_it_lasts(make_rig):
    """And what comes back meanwhile is settled: the loop need not run for that."""
    rig = make_rig()
    first = work()
    rig.core().finish(first, 7)
    rest = [work() for _ in range(HUNGRY_CALLS + 1)]
    assert first.result() == 7
    assert rig.core().held
    rig.run()
    assert not any(token.done() for token in rest)


def test_tokens_are_sent_in_the_order_of_their_calls(make_rig):
    """To each core."""
    rig = make_rig(2)
    tokens = [work(n) for n in range(8)]
    rig.run()
    held = [rig.core(1).held, rig.core(2).held]
    assert held == [sorted(numbers) for numbers in held]
    assert sorted(held[0] + held[1]) == [token.number for token in tokens]


def test_a_function_is_known_before_its_first_token(make_rig):
    """To each process that there is, and to each that comes."""
    rig = make_rig(2)
    token = work(1)
    for link in rig.all_links():
        assert [resolve(d) for d in link.definitions.values()] == [work.__wrapped__]
    rig.backend.exit(rig.holder(token))
    assert all(len(link.definitions) == 1 for link in rig.all_links())


def test_a_function_that_nobody_refers_to_is_forgotten(make_rig):
    """By every process, but not before its last token has ended."""
    rig = make_rig()

    @task_token_guard()
    def passing():
        """Do nothing."""

    token = passing()
    del passing
    gc.collect()
    rig.run()
    assert len(rig.core().definitions) == 1
    rig.core().finish(token)
    rig.run()
    gc.collect()
    rig.loop.call_soon(rig.engine.turn_in_loop)
    rig.run()
    assert rig.core().definitions == {}


def test_tokens_wait_for_a_process_that_is_up(make_rig):
    """And for nothing else."""
    rig = make_rig(2, up=False)
    token = work()
    rig.after(5.0)
    assert token.stage is TokenState.WAITING
    rig.come_up(2)
    assert rig.core(2).held == [token.number]


def test_tokens_of_one_key_go_to_one_core(make_rig):
    """While others go elsewhere."""
    rig = make_rig(3)
    same = [sticky("a") for _ in range(6)]
    rig.run()
    assert {token.core for token in same if token.core} == {same[0].core}
    rig.perform_all()
    assert {token.core for token in same} == {same[0].core}
    rig.check_nothing_left()


def test_no_more_tokens_are_held_than_the_limit_allows(make_rig):
    """In all cores together; the next one goes when one has ended."""
    rig = make_rig(2)
    tokens = [limited(n) for n in range(3)]
    for token in tokens:
        rig.run()
        assert [number for link in rig.all_links() for number in link.held] == [token.number]
        rig.holder(token).finish(token)
    rig.run()
    assert all(token.done() for token in tokens)
    rig.check_nothing_left()


def test_a_call_waits_for_the_tokens_among_its_arguments(make_rig):
    """And is sent with their values, in the bytes in which they came."""
    rig = make_rig()
    first = double(2)
    second = work(first, [first], 3)
    third = work(second)
    rig.run()
    assert rig.core().held == [first.number]
    assert (second.stage, third.stage) == (TokenState.WAITING, TokenState.WAITING)
    rig.perform_all()
    assert second.result() == (4, [4], 3)
    assert third.result() == ((4, [4], 3),)
    rig.check_nothing_left()


def test_a_call_is_not_run_whose_argument_failed(make_rig):
    """Nor one that needs that; the error names the tokens from the first to the last."""
    rig = make_rig()
    first = work()
    second = work(first)
    third = work(second)
    rig.run()
    rig.core().fail(first, ValueError("no"))
    rig.run()
    assert isinstance(rig.error_of(third), DependencyFailed)
    assert [name.split()[0] for name in rig.error_of(third).chain] == [
        first.token_id,
        second.token_id,
    ]
    assert isinstance(rig.error_of(third).__cause__, ValueError)
    assert rig.error_of(second).reason == "ValueError: no"
    rig.error_of(first)
    rig.check_nothing_left()


def test_a_call_is_killed_whose_argument_was(make_rig):
    """Whether that waits or runs."""
    rig = make_rig()
    first = work()
    second = work(first)
    rig.run()
    first.kill("enough")
    rig.run()
    assert isinstance(rig.error_of(second), TokenKilled)
    assert "enough" in str(rig.error_of(second))
    assert rig.core().heed() == [first.number]
    rig.run()
    rig.check_nothing_left()


def test_an_open_breaker_ends_waiting_tokens_and_refuses_calls(make_rig):
    """Until its pause is over."""
    rig = make_rig()
    tokens = [broken(n) for n in range(8)]
    rig.run()
    rig.engine.control.pause_admission(paused=True)
    held = rig.core().held
    for number in held:
        rig.core().fail(number, ValueError())
    rig.run()
    waited = [token for token in tokens if token.number not in held]
    assert waited
    assert all(isinstance(rig.error_of(token), OperationBlocked) for token in waited)
    assert all(isinstance(t.exception(), ValueError) for t in tokens if t not in waited)
    with pytest.raises(OperationBlocked):
        broken()
    rig.engine.control.pause_admission(paused=False)
    rig.after(11.0)
    probe = broken()
    rig.perform_all()
    assert probe.result() == ()
    rig.check_nothing_left()


def test_what_is_lost_unbegun_is_sent_to_the_next_process(make_rig):
    """In the same place among all others, without any use of retries."""
    rig = make_rig()
    tokens = [idempotent(n) for n in range(4)]
    rig.run()
    rig.backend.exit(rig.core())
    rig.run()
    assert all(token.stage is TokenState.WAITING for token in tokens)
    rig.come_up()
    assert rig.core().held == [token.number for token in tokens]
