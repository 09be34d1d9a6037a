"""The fakes themselves: what they leave out of a core, and what they keep."""

from __future__ import annotations

import pytest
from engine_work import double, work

from tokengate_mp.lifecycle import TokenState


def test_tokens_go_to_cores_and_come_back(make_rig):
    """What a test finishes is the result of its token, and nothing is left."""
    rig = make_rig(2)
    tokens = [work(n) for n in range(6)]
    rig.run()
    assert all(token.stage is TokenState.ADMITTED for token in tokens)
    for token in tokens:
        rig.holder(token).finish(token, {token.number})
    rig.run()
    assert [token.result() for token in tokens] == [{token.number} for token in tokens]
    rig.check_nothing_left()


def test_functions_can_be_called_in_place_of_cores(make_rig):
    """As they were sent, with the arguments that were sent."""
    rig = make_rig(2)
    tokens = [double(n) for n in range(100)]
    rig.run()
    rig.perform_all()
    assert [token.result() for token in tokens] == [2 * n for n in range(100)]
    rig.check_nothing_left()


def test_time_passes_when_a_test_says_so(make_rig):
    """And not otherwise: a timer runs at its time to the nanosecond, after those before it."""
    loop, times = make_rig().loop, []
    start = loop.now
    for seconds in (3.0, 1.0, 2.0):
        loop.call_later(seconds, lambda: times.append(loop.now - start))
    loop.run_ready()
    assert times == []
    loop.pass_time(2.5)
    assert times == [1_000_000_000, 2_000_000_000]
    loop.pass_time(0.5)
    assert times[2:] == [3_000_000_000]


def test_a_loop_without_rest_is_noticed(make_rig):
    """Rather than that the test never ends."""
    loop = make_rig().loop

    def again():
        loop.call_soon(again)

    again()
    with pytest.raises(AssertionError, match="rest"):
        loop.run_ready()
    loop._ready.clear()


def test_an_answer_for_a_token_that_is_not_held_is_noticed(make_rig):
    """The engine condemns the process, believes nothing of it, and has the token run elsewhere."""
    rig = make_rig()
    token = work()
    rig.run()
    core = rig.core()
    core.finish(token, 1)
    core.finish(token, 2)
    rig.run()
    assert rig.backend.condemned == [core]
    assert not token.done()
    rig.backend.exit(core)
    rig.come_up()
    rig.core().finish(token, 3)
    rig.run()
    assert token.result() == 3
