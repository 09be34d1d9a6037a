from __future__ import annotations

import pytest
from engine_work import timed, work

from tokengate_mp import AdmissionRejected
from tokengate_mp.engine.admission import COUNTED_BYTES

BIG = "x" * 10_000


def test_a_call_beyond_the_limit_is_refused_and_takes_no_room(make_rig):
    """Until a token ends: then there is room for another one."""
    rig = make_rig(max_pending=3)
    tokens = [work(n) for n in range(3)]
    with pytest.raises(AdmissionRejected, match="3 tokens"):
        work()
    rig.run()
    assert rig.engine.pending_count() == 3
    rig.core().finish(tokens[0])
    rig.run()
    work()
    with pytest.raises(AdmissionRejected):
        work()


ENDS = {
    "finished": lambda rig, token: rig.core().finish(token),
    "failed": lambda rig, token: rig.core().fail(token, ValueError()),
    "killed": lambda rig, token: token.kill(),
    "cancelled": lambda rig, token: token.cancel(),
    "timed out": lambda rig, _token: rig.after(1.5),
    "lost": lambda rig, token: rig.backend.exit(rig.begun(token)),
}


@pytest.mark.parametrize("end", ENDS)
def test_bytes_of_arguments_count_until_the_token_has_ended(make_rig, end):
    """However that happens; what is small does not count."""
    rig = make_rig(max_pending_bytes=15_000)
    small = work("x" * (COUNTED_BYTES // 2))
    assert rig.engine.admission.large == 0
    token = timed(BIG)
    assert rig.engine.admission.large > len(BIG)
    work(BIG)
    with pytest.raises(AdmissionRejected, match="bytes of large arguments"):
        work()
    rig.run()
    ENDS[end](rig, token)
    rig.run()
    assert token.done()
    assert len(BIG) < rig.engine.admission.large < 2 * len(BIG)
    work()
    assert not small.done()


def test_a_call_that_ended_before_its_turn_counts_no_more(make_rig):
    """Neither its bytes nor itself."""
    rig = make_rig()
    rig.engine.control.pause_admission(paused=True)
    work()
    token = work(BIG)
    token.kill()
    rig.run()
    assert rig.engine.admission.large == 0
    assert rig.engine.pending_count() == 1


def test_tasks_that_wait_for_room_go_on_first_come_first_served(make_rig):
    """One for each token that ends; each is about to call, so nobody else gets its room."""
    rig = make_rig(max_pending=2)
    admission, went = rig.engine.admission, []

    async def caller(name):
        await admission.ready(rig.loop, name)
        went.append((name, admission.is_called(name)))

    tokens = [work(n) for n in range(2)]
    for name in "abc":
        rig.loop.create_task(caller(name))
    rig.run()
    assert went == []
    rig.core().finish(tokens[0])
    rig.run()
    assert went == [("a", True)]
    rig.core().finish(tokens[1])
    rig.run()
    assert went == [("a", True), ("b", True)]
    admission.gone_on("a")  # without a call
    rig.run()
    assert [name for name, _ in went] == ["a", "b", "c"]


def test_a_task_that_came_too_late_waits_on_at_the_front(make_rig):
    """When somebody who had been called before took the room that it was woken for."""
    rig = make_rig(max_pending=1)
    admission, went = rig.engine.admission, []

    async def caller(name):
        await admission.ready(rig.loop, name)
        went.append(name)
        return work()

    token = work()
    first = rig.loop.create_task(caller("a"))
    rig.loop.create_task(caller("b"))
    rig.run()
    rig.core().finish(token)
    rig.run()
    assert went == ["a"]
    admission.gone_on("a")
    rig.core().finish(first.result())
    rig.run()
    assert went == ["a", "b"]


def test_closing_lets_everybody_go_on(make_rig):
    """Whoever waits for room then finds that no calls are taken."""
    rig = make_rig(max_pending=1)
    work()
    waiting = rig.loop.create_task(rig.engine.admission.ready(rig.loop, "a"))
    rig.run()
    rig.close()
    assert waiting.done()
    assert waiting.exception() is None
