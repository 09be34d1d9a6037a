from __future__ import annotations

import logging

import pytest
from engine_work import alone, timed, work

from tokengate_mp import TokenKilled, WorkerLost

GRACE = 2.0


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Keep warnings about ended processes out of the way."""
    caplog.set_level(logging.CRITICAL, "tokengate_mp.engine.interruption")


def killed_while_running(rig, *others):
    """Kill a token that runs, with others behind it."""
    token = work()
    behind = [work(n) for n in range(len(others))]
    rig.run()
    core = rig.begun(token)
    token.kill()
    return token, core, behind


def test_a_function_that_heeds_its_interruption_costs_nothing(make_rig):
    """Its process goes on."""
    rig = make_rig(grace=GRACE)
    _, core, _ = killed_while_running(rig)
    rig.after(GRACE / 2)
    core.heed()
    rig.after(10 * GRACE)
    assert rig.backend.condemned == []
    rig.check_nothing_left()


def test_a_function_that_does_not_goes_with_its_process(make_rig):
    """After the grace; what else the process ran is lost, what it had not begun goes on."""
    rig = make_rig(grace=GRACE)
    token, core, (beside, behind) = killed_while_running(rig, 1, 2)
    core.begin(beside)
    rig.after(GRACE * 0.99)
    assert rig.backend.condemned == []
    rig.after(GRACE * 0.02)
    assert rig.backend.condemned == [core]
    assert "had not ended 2 s after it was interrupted" in core.condemned
    assert rig.backend.exit(core), "the process is not at fault"
    rig.come_up()
    rig.perform_all()
    assert isinstance(rig.error_of(token), TokenKilled)
    assert isinstance(rig.error_of(beside), WorkerLost)
    assert core.condemned in str(rig.error_of(beside))
    assert behind.result() == (1,)
    rig.check_nothing_left()


def test_a_token_behind_another_has_its_time_when_its_turn_comes(make_rig):
    """However long the other one runs: the core is not ended for it."""
    rig = make_rig(grace=GRACE)
    running, token = work(), work()
    rig.run()
    core = rig.begun(running)
    token.kill()
    rig.after(20 * GRACE)
    assert rig.backend.condemned == []
    core.finish(running)
    core.heed()
    rig.after(2 * GRACE)
    assert rig.backend.condemned == []
    rig.check_nothing_left()


def test_a_token_behind_another_is_no_exception_once_it_runs(make_rig):
    """Begun though it was ended, it is interrupted; if it goes on, its process is ended."""
    rig = make_rig(grace=GRACE)
    running, token = work(), work()
    rig.run()
    core = rig.begun(running)
    token.kill()
    rig.after(5 * GRACE)
    core.finish(running)
    core.begin(token)
    rig.after(GRACE * 1.01)
    assert core.interrupted == [token.number] * 2
    assert rig.backend.condemned == []
    rig.after(GRACE)
    assert rig.backend.condemned == [core]


def test_a_token_that_an_exclusive_one_holds_up_has_its_time_later(make_rig):
    """One that waited when the exclusive token began: that is not lost for its sake."""
    rig = make_rig(grace=GRACE)
    waiting, taking = work(), alone()
    rig.run()
    core = rig.begun(waiting)
    core.begin_on_top(taking)
    rig.run()
    waiting.kill()
    rig.after(20 * GRACE)
    assert rig.backend.condemned == []
    core.finish(taking, 7)
    rig.after(2 * GRACE)
    assert taking.result() == 7
    assert rig.backend.condemned == [core], "it may go on, and does not end"


def test_a_token_on_top_of_an_exclusive_one_is_no_exception(make_rig):
    """It runs in the place of the exclusive one, and so has to heed its interruption."""
    rig = make_rig(grace=GRACE)
    below, above = alone(), work()
    rig.run()
    core = rig.begun(below)
    core.begin_on_top(above, below)
    rig.run()
    above.kill()
    rig.after(1.01 * GRACE)
    assert rig.backend.condemned == [core]


def test_a_token_that_began_just_then_is_interrupted_again(make_rig):
    """And only after another grace its process is ended."""
    rig = make_rig(grace=GRACE)
    token = work()
    rig.run()
    core = rig.core()
    token.kill()
    assert core.interrupted == [token.number]
    core.begin(token)
    rig.after(GRACE * 1.01)
    assert core.interrupted == [token.number] * 2
    assert rig.backend.condemned == []
    rig.after(GRACE)
    assert rig.backend.condemned == [core]


def test_a_process_that_takes_nothing_is_ended(make_rig):
    """As one is that was stopped by a signal: nothing runs there, and the token lies unbegun."""
    rig = make_rig(grace=GRACE)
    token = work()
    rig.run()
    token.kill()
    rig.after(GRACE * 1.01)
    assert rig.backend.condemned == [rig.core()]


def test_a_process_that_has_ended_by_itself_is_left_alone(make_rig):
    """And so is the one that has taken its place."""
    rig = make_rig(grace=GRACE)
    _, core, _ = killed_while_running(rig)
    rig.backend.exit(core)
    rig.come_up()
    rig.after(10 * GRACE)
    assert rig.backend.condemned == []
    rig.check_nothing_left()


def test_a_token_whose_time_is_up_is_interrupted_too(make_rig):
    """With the grace on top of its time."""
    rig = make_rig(grace=GRACE)
    token = timed()
    rig.run()
    core = rig.begun(token)
    rig.after(1.0 + GRACE * 0.9)
    assert isinstance(rig.error_of(token), TimeoutError)
    assert rig.backend.condemned == []
    rig.after(GRACE * 0.2)
    assert rig.backend.condemned == [core]
