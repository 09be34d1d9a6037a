from __future__ import annotations

import pytest
from engine_work import idempotent, impatient, sticky, work

from tokengate_mp import TokenState, WorkerLost


def test_what_it_left_is_delivered_and_what_it_ran_is_lost(make_rig):
    """What it had not begun waits for the next process, before all others."""
    rig = make_rig()
    finished, running, unbegun = (work(n) for n in range(3))
    rig.run()
    core = rig.core()
    core.finish(finished, "well")
    core.begin(running)
    rig.backend.exit(core, -11)
    assert finished.result() == "well"
    error = rig.error_of(running)
    assert isinstance(error, WorkerLost)
    assert (error.pid, error.exitcode) == (core.pid, -11)
    assert f"was running 'work' ({running.token_id})" in str(error)
    assert unbegun.stage is TokenState.WAITING
    rig.come_up()
    assert rig.core().held == [unbegun.number]
    rig.perform_all()
    rig.check_nothing_left()


def test_a_token_of_which_nobody_knows_whether_it_had_begun_is_lost(make_rig):
    """And its error says that."""
    rig = make_rig()
    token = work()
    rig.run()
    rig.core().doubtful.add(token.number)
    rig.backend.exit(rig.core(), None)
    assert "may have been running" in str(rig.error_of(token))


def test_an_idempotent_token_is_run_again(make_rig):
    """Until it has taken as many processes with it as a poisonous one."""
    rig = make_rig(poison_limit=3)
    token = idempotent()
    for _ in range(3):
        rig.run()
        assert not token.done()
        rig.backend.exit(rig.begun(token))
        rig.come_up()
    assert isinstance(rig.error_of(token), WorkerLost)
    assert rig.core().held == []
    rig.check_nothing_left()


def test_a_lost_token_is_run_again_as_after_any_error(make_rig):
    """If it has retries for that."""
    rig = make_rig()
    token = impatient()
    rig.run()
    rig.backend.exit(rig.begun(token))
    rig.come_up()
    rig.perform_all()
    assert token.result() == ()
    rig.check_nothing_left()


def test_a_killed_token_ends_once(make_rig):
    """Its process took long to drop it, and was lost meanwhile."""
    rig = make_rig()
    token = work()
    rig.run()
    core = rig.begun(token)
    token.kill("enough")
    rig.backend.exit(core)
    assert rig.error_of(token).reason == "enough"
    rig.check_nothing_left()


def test_keys_stay_with_their_core(make_rig):
    """Though it has another process."""
    rig = make_rig(2)
    first, second = sticky("a"), sticky("a")
    rig.run()
    core = rig.begun(first)
    rig.backend.exit(core)
    third = sticky("a")
    rig.after(10.0)
    assert (second.stage, third.stage) == (TokenState.WAITING,) * 2
    rig.come_up(core.core)
    assert rig.core(core.core).held == [second.number, third.number]


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "nothing"])
def test_a_process_that_answered_for_nothing_made_no_progress(make_rig, answered):
    """Its backend counts that towards giving up the core."""
    rig = make_rig()
    tokens = [work(n) for n in range(2)]
    rig.run()
    if answered:
        rig.core().finish(tokens[0])
    rig.begun(tokens[1])
    assert rig.backend.exit(rig.core()) is answered


def test_a_process_that_was_never_up_lost_nothing(make_rig):
    """Its core got none."""
    rig = make_rig(up=False)
    token = work()
    rig.run()
    assert rig.backend.exit(rig.core(), 1)
    assert token.stage is TokenState.WAITING
    rig.come_up()
    rig.perform_all()
    rig.check_nothing_left()


def test_a_process_may_end_while_its_last_words_are_heard(make_rig):
    """A callback of a token that ends there makes calls, which go to the next process."""
    rig = make_rig()
    token = work()
    made = []
    token.add_done_callback(lambda _token: made.extend(work(n) for n in range(3)))
    rig.run()
    rig.core().finish(token)
    rig.backend.exit(rig.core())
    rig.run()
    assert [each.stage for each in made] == [TokenState.WAITING] * 3
    rig.come_up()
    rig.perform_all()
    rig.check_nothing_left()


def test_the_seat_of_a_process_that_was_relieved_is_free_when_it_has_gone(make_rig):
    """The next process that is relieved gets it: seats do not pile up."""
    rig = make_rig(max_tokens_per_core=1)
    seats = set()
    for n in range(4):
        token, old = work(n), rig.core()
        rig.run()
        old.perform(token)
        rig.run()
        rig.backend.successor(1).come_up()
        rig.run()
        seats.add(old.seat)
        rig.backend.exit(old, 0)
        rig.run()
    assert len(seats) == 1
    assert rig.engine.control_port.stats()["cores"][0]["completed"] == 4
    rig.check_nothing_left()
