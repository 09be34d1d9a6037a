from __future__ import annotations

import asyncio

import pytest
from engine_work import other, retried, work

from tokengate_mp import TokenKilled, TokenState


def test_a_waiting_token_that_is_killed_is_never_sent(make_rig):
    """Whoever awaits it is told why."""
    rig = make_rig(up=False)
    token = work()
    rig.run()
    assert token.kill("enough")
    assert not token.kill("again")
    assert rig.error_of(token).reason == "enough"
    rig.come_up()
    assert rig.core().held == []
    rig.check_nothing_left()


def test_a_held_token_that_is_killed_ends_at_once_and_its_core_is_told(make_rig):
    """The core drops it; in the accounts of the core it is until then."""
    rig = make_rig()
    token = work()
    rig.run()
    core = rig.begun(token)
    assert token.state is TokenState.EXECUTING
    assert token.kill("enough")
    assert isinstance(rig.error_of(token), TokenKilled)
    assert token.stage is TokenState.KILLED
    assert rig.scheduler.accounts.held_count(1) == 1
    assert core.heed() == [token.number]
    rig.run()
    assert rig.scheduler.accounts.held_count(1) == 0
    rig.check_nothing_left()


def test_what_a_killed_token_came_to_is_dropped(make_rig):
    """Result or error, and it is not run again after that."""
    rig = make_rig()
    tokens = [retried("a"), retried("b")]
    rig.run()
    for token in tokens:
        token.kill()
    rig.core().finish(tokens[0], 1)
    rig.core().fail(tokens[1], ValueError())
    rig.run()
    assert all(isinstance(token.exception(), TokenKilled) for token in tokens)
    assert rig.core().held == []
    rig.check_nothing_left()


def test_a_token_that_waits_for_its_next_run_can_be_killed(make_rig):
    """And has no next run then."""
    rig = make_rig()
    token = retried()
    rig.run()
    rig.core().fail(token, ValueError())
    rig.run()
    token.kill()
    rig.after(60.0)
    assert rig.core().held == []
    rig.check_nothing_left()


def test_a_cancelled_token_ends_as_killed(make_rig):
    """Whoever awaits it gets CancelledError; its core is told."""
    rig = make_rig()
    token = work()
    rig.run()
    assert token.cancel()
    assert not token.cancel()
    with pytest.raises(asyncio.CancelledError):
        token.result()
    assert token.stage is TokenState.KILLED
    assert rig.core().heed() == [token.number]
    rig.run()
    rig.check_nothing_left()


def test_tokens_are_killed_by_id_and_by_operation(make_rig):
    """As many as there are that have not ended, called this moment or before."""
    rig = make_rig()
    control = rig.engine.control
    first = work()
    rig.run()
    tokens = [first, *(work(n) for n in range(9))]
    others = [other(n) for n in range(3)]
    assert control.kill_by_id(tokens[3].token_id, "by id")
    assert not control.kill_by_id(tokens[3].token_id, "by id")
    assert not control.kill_by_id("nonsense", "by id")
    assert control.kill_all("work", "all of them") == 9
    assert control.kill_all("work", "all of them") == 0
    assert [token.exception().reason for token in tokens] == [
        "by id" if token is tokens[3] else "all of them" for token in tokens
    ]
    assert not any(token.done() for token in others)
    rig.run()
    rig.core().heed()
    rig.run()
    rig.perform_all()
    assert [token.result() for token in others] == [(n,) for n in range(3)]
    rig.check_nothing_left()


def test_nothing_is_sent_while_admission_is_paused(make_rig):
    """What cores hold goes on; the rest follows in order when it is resumed."""
    rig = make_rig()
    control = rig.engine.control
    first = work()
    rig.run()
    control.pause_admission(paused=True)
    later = [work(n) for n in range(3)]
    rig.run()
    rig.core().finish(first)
    rig.after(10.0)
    assert first.done()
    assert rig.core().held == []
    control.pause_admission(paused=False)
    rig.run()
    assert rig.core().held == [token.number for token in later]


def test_nothing_of_a_paused_operation_is_sent(make_rig):
    """While others pass it."""
    rig = make_rig()
    control = rig.engine.control
    control.pause_operation("work", paused=True)
    held_back, passing = work(), other()
    rig.run()
    assert rig.core().held == [passing.number]
    control.pause_operation("work", paused=False)
    rig.run()
    assert rig.core().held == [passing.number, held_back.number]


def test_draining_ends_what_waits(make_rig):
    """Of one operation or of all; what cores hold goes on."""
    rig = make_rig()
    control = rig.engine.control
    held = work()
    rig.run()
    control.pause_admission(paused=True)
    waiting, others = [work(n) for n in range(3)], [other(n) for n in range(2)]
    assert control.drain("other", "drained") == 2
    assert control.drain(None, "drained") == 3
    assert control.drain(None, "drained") == 0
    assert all(t.exception().reason == "drained" for t in waiting + others)
    rig.core().finish(held)
    rig.run()
    assert held.done()
    control.pause_admission(paused=False)
    rig.check_nothing_left()


def test_closing_ends_every_token(make_rig):
    """Wherever it is: not taken in, waiting, withheld, between two runs, held, running."""
    rig = make_rig()
    running, between = work("running"), retried()
    rig.run()
    rig.begun(running)
    rig.core().fail(between, ValueError())
    rig.run()
    withheld, held = work(running), work("held")
    rig.run()
    waiting = [work(n) for n in range(20)]
    rig.run()
    fresh = work("fresh")
    rig.close()
    for token in (running, between, withheld, held, *waiting, fresh):
        assert isinstance(rig.error_of(token), TokenKilled)
    assert rig.backend.stopped


def test_join_returns_when_the_last_token_has_ended(make_rig):
    """And at once if there is none."""
    rig = make_rig()
    rig.finished(rig.engine.join())
    tokens = [work(n) for n in range(2)]
    joining = rig.loop.create_task(rig.engine.join())
    rig.run()
    rig.core().finish(tokens[0])
    rig.run()
    assert not joining.done()
    tokens[1].kill()
    rig.run()
    assert joining.done()
    assert rig.core().heed() == [tokens[1].number]
    rig.run()
