from __future__ import annotations

from engine_work import work

from tokengate_mp import TokenState


def test_a_link_that_is_about_to_go_is_sent_nothing_more(make_rig):
    """It is asked for what it has not begun, which goes elsewhere; the rest it finishes."""
    rig = make_rig(2)
    tokens = [work(n) for n in range(4)]
    rig.run()
    link = rig.core(1)
    running = next(t for t in tokens if t.number in link.held)
    link.begin(running)
    rig.backend.drain(link)
    assert link.recalls == 1
    given = link.give_back()
    rig.run()
    later = [work(n) for n in range(4)]
    rig.run()
    assert link.held == [running.number]
    rig.perform_all()
    link.finish(running, "well")
    rig.run()
    assert running.result() == "well"
    assert all(t.core == 2 for t in [*tokens, *later] if t.number in given or t in later)
    rig.check_nothing_left()


def test_a_link_that_is_not_heard_keeps_what_it_holds(make_rig):
    """Nothing is lost and nothing run twice, as it may only be slow; but it gets nothing more."""
    rig = make_rig(2)
    tokens = [work(n) for n in range(2)]
    rig.run()
    link = rig.core(1)
    held = link.held
    rig.backend.suspect(link)
    more = [work(n) for n in range(10)]
    rig.after(60.0)
    assert link.held == held
    assert all(t.core != 1 for t in more)
    link.finish(held[0], "late")
    rig.run()
    assert "late" in [t.result() for t in tokens if t.done()]
    assert link.held == [], "not even when it has answered"


def test_a_link_that_is_heard_again_gets_tokens(make_rig):
    """Those that wait, at once."""
    rig = make_rig()
    link = rig.core()
    rig.backend.suspect(link)
    token = work()
    rig.after(10.0)
    assert token.stage is TokenState.WAITING
    rig.backend.recover(link)
    rig.run()
    assert link.held == [token.number]


def test_a_link_that_was_lost_meanwhile_loses_what_it_ran(make_rig):
    """As any other: the suspicion was right."""
    rig = make_rig(2)
    tokens = [work(n) for n in range(2)]
    rig.run()
    link = rig.core(1)
    (number,) = link.held
    link.doubtful.add(number)
    rig.backend.suspect(link)
    rig.backend.exit(link, None, restart=False)
    rig.run()
    lost = [t for t in tokens if t.done()]
    assert [t.number for t in lost] == [number]
    assert "may have been running" in str(rig.error_of(lost[0]))
