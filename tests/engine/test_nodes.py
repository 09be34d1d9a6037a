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
    assert {t.core for t in more} == {None, 2}
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


def test_a_link_that_is_heard_again_has_no_more_quota_than_before(make_rig):
    """It was sent all that it may be, and is sent no more."""
    rig = make_rig(max_tokens_per_core=2, exact=True)
    tokens = [work(n) for n in range(4)]
    rig.run()
    link = rig.core()
    assert link.held == [t.number for t in tokens[:2]]
    rig.backend.suspect(link)
    rig.backend.recover(link)
    link.finish(tokens[0])
    rig.run()
    assert link.held == [tokens[1].number]


def test_a_link_that_is_not_heard_is_not_taken_for_one_that_has_had_its_quota(make_rig):
    """Where none can take over it stays: its core is not given up."""
    rig = make_rig(2, max_tokens_per_core=2, exact=True)
    link = rig.core(1)
    rig.backend.cannot_replace(1)
    rig.backend.suspect(link)
    rig.after(1.0)
    assert rig.core(1) is link
    assert rig.backend.dismissed == []
    rig.backend.recover(link)
    tokens = [work(n) for n in range(2)]
    rig.run()
    assert link.held
    rig.perform_all()
    assert [t.result() for t in tokens] == [(0,), (1,)]
