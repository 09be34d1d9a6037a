from __future__ import annotations

from engine_work import work

from tokengate_mp import TokenKilled, TokenState


def begun(rig):
    """Begin a token that makes others: the token, its link, and an enrolment there."""
    outer = work("outer")
    rig.run()
    link = rig.begun(outer)
    return outer, link, link.enrol(work)


def state(rig, number):
    """The stage of a nested token."""
    return rig.nested._known[number].stage


def test_what_only_an_ended_token_waits_for_ends_with_it(make_rig):
    """And what that waits for in turn, however deep."""
    rig = make_rig()
    outer, link, enrolment = begun(rig)
    below, numbers = outer, []
    for depth in range(5):
        number = link.call(enrolment, depth)
        link.claim(number, within=below)
        rig.run()
        link.begin_on_top(number, below=below)
        rig.run()
        numbers.append(number)
        below = number
    outer.kill("enough")
    rig.run()
    assert [state(rig, number) for number in numbers] == [TokenState.KILLED] * 5
    assert set(link.interrupted) == {outer.number, *numbers}
    link.heed()
    rig.run()
    link.forget_tokens(*numbers)
    rig.run()
    rig.check_nothing_left()


def test_what_another_waits_for_too_goes_on(make_rig):
    """Until that one is ended as well."""
    rig = make_rig()
    outer, link, enrolment = begun(rig)
    other = work("other")
    rig.run()
    link.begin(other)
    number = link.call(enrolment)
    link.claim(number, within=outer)
    link.claim(number, within=other)
    rig.run()
    outer.kill()
    rig.run()
    assert state(rig, number) is TokenState.ADMITTED
    other.kill()
    rig.run()
    assert state(rig, number) is TokenState.KILLED
    link.heed()
    rig.run()
    link.forget_tokens(number)
    rig.run()
    rig.check_nothing_left()


def test_what_an_ended_token_had_made_ends_when_nobody_refers_to_it(make_rig):
    """But not what was dropped in the ordinary way."""
    rig = make_rig()
    outer, link, enrolment = begun(rig)
    first, second = link.call(enrolment, 1), link.call(enrolment, 2)
    rig.run()
    tokens = [rig.nested._known[number] for number in (first, second)]
    outer.kill()
    link.forget_tokens(first, maker_ended=True)
    link.forget_tokens(second)
    rig.run()
    assert [token.stage for token in tokens] == [TokenState.KILLED, TokenState.ADMITTED]
    link.heed()
    rig.run()
    rig.perform_all()
    rig.check_nothing_left()


def test_what_the_caller_has_got_goes_on(make_rig):
    """Or can get, by a result that refers to it, or by a call that needs its value."""
    rig = make_rig()
    outer, link, enrolment = begun(rig)
    shown, carried, needed = (link.call(enrolment, n) for n in range(3))
    needing = link.call(enrolment, needs=[needed])
    rig.run()
    rig.nested.show(shown)
    link.carry(outer, carried)
    rig.run()
    tokens = [rig.nested._known[number] for number in (shown, carried, needed)]
    outer.kill()
    link.forget_tokens(shown, carried, needed, maker_ended=True)
    rig.run()
    assert not any(token.stage.ended for token in tokens)
    link.finish(outer, [1])
    rig.run()
    rig.perform_all()
    assert all(token.stage is TokenState.COMPLETED for token in tokens)
    link.forget_tokens(needing)
    rig.run()
    rig.check_nothing_left()


def test_a_wait_that_is_heard_of_late_is_of_no_use(make_rig):
    """Its token ends, as the one that waits has been ended already."""
    rig = make_rig()
    outer, link, enrolment = begun(rig)
    number = link.call(enrolment)
    rig.run()
    token = rig.nested._known[number]
    outer.kill()
    rig.run()
    assert not token.stage.ended
    link.claim(number, within=outer)
    rig.run()
    assert token.stage is TokenState.KILLED
    link.heed()
    rig.run()
    link.forget_tokens(number)
    rig.run()
    rig.check_nothing_left()


def test_what_a_lost_token_waited_for_ends(make_rig):
    """In other cores too: they are told."""
    rig = make_rig(2)
    outer, link, enrolment = begun(rig)
    number = link.call(enrolment)
    rig.run()
    other = rig.core(3 - link.core)
    assert other.held == [number]
    other.begin(number)
    link.claim(number, within=outer)
    rig.run()
    token = rig.nested._known[number]
    rig.backend.exit(link)
    rig.run()
    assert token.stage is TokenState.KILLED
    assert other.interrupted == [number]
    assert "waited for it" in token.ending_error().reason
    assert isinstance(token.ending_error(), TokenKilled)
    other.heed()
    rig.run()
    rig.come_up()
    rig.check_nothing_left()
