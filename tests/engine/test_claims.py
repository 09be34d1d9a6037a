from __future__ import annotations

import pytest
from engine_work import double, limited, retried, work

from tokengate_mp import TokenKilled, TokenState
from tokengate_mp.scheduling.cores.recall import RECALL_NS
from tokengate_mp.scheduling.nested.claims import LOOKED_OVER
from tokengate_mp.wire.protocol.records import RAISED, VALUE


@pytest.fixture
def inside(make_rig):
    """Make a rig in which a token runs that makes others: the rig, its link, token, enrolment."""

    def begin(cores=1, function=work, **options):
        rig = make_rig(cores, **options)
        outer = work("outer")
        rig.run()
        link = rig.begun(outer)
        enrolment = link.enrol(function)
        rig.run()
        return rig, link, outer, enrolment

    return begin


def finish_all(rig, outer):
    """Finish everything, and let nobody refer to tokens any more."""
    rig.perform_all()
    if not outer.done():
        rig.holder(outer).finish(outer)
    for link in rig.all_links():
        link.forget_tokens(*rig.peers.of(link).kept)
    rig.run()
    rig.check_nothing_left()
    assert not any(rig.peers.of(link).kept for link in rig.all_links())


def test_a_token_made_inside_a_token_is_run_where_there_is_room(inside):
    """And those who refer to it are told what became of it, unless it was run there."""
    rig, link, outer, enrolment = inside(2)
    numbers = [link.call(enrolment, n) for n in range(4)]
    rig.run()
    elsewhere = rig.core(3 - link.core).held
    assert elsewhere
    rig.perform_all()
    assert set(link.answers) == set(elsewhere)
    for number in elsewhere:
        (answer,) = link.answers[number]
        assert answer.kind != RAISED
    assert set(numbers) >= set(elsewhere)
    finish_all(rig, outer)


def test_its_error_is_told_everywhere(inside):
    """Also where it was run: that process does not know whether it is run again."""
    rig, link, outer, enrolment = inside()
    number = link.call(enrolment)
    rig.run()
    link.fail(number, ValueError())
    rig.run()
    (answer,) = link.answers[number]
    assert answer.kind == RAISED
    finish_all(rig, outer)


def test_a_claimed_token_goes_to_whoever_waits_for_it(inside):
    """Before all others, and whatever that core's window is."""
    rig, link, outer, enrolment = inside()
    others = [work(n) for n in range(50)]
    rig.run()
    assert len(link.held) < 50
    number = link.call(enrolment)
    rig.run()
    assert number not in link.held
    link.claim(number, within=outer)
    rig.run()
    assert number in link.held
    assert set(rig.nested.claims.granted) == {number}
    assert not rig.nested.claims.pending
    link.perform(number)
    rig.run()
    finish_all(rig, outer)
    assert all(token.done() for token in others)


def test_a_claim_waits_while_admission_is_paused(inside):
    """And is granted first when that is over."""
    rig, link, outer, enrolment = inside()
    rig.engine.control.pause_admission(paused=True)
    number = link.call(enrolment)
    link.claim(number, within=outer)
    rig.run()
    assert set(rig.nested.claims.pending) == {number}
    rig.engine.control.pause_admission(paused=False)
    rig.run()
    assert number in link.held
    finish_all(rig, outer)


def test_a_claimed_token_is_called_back_from_a_core_that_waits_too(inside):
    """At once, as it would never be begun there."""
    rig, link, outer, enrolment = inside(2)
    number = link.call(enrolment)
    rig.run()
    holder = rig.core(3 - link.core)
    assert holder.held == [number]
    holder.waiting = True
    link.claim(number, within=outer)
    rig.run()
    assert holder.recalls == 1
    holder.give_back()
    rig.run()
    assert number in link.held
    assert rig.nested.claims.granted
    holder.waiting = False
    finish_all(rig, outer)


def test_a_claimed_token_is_called_back_from_a_core_where_it_lies_long(inside):
    """From one that is busy, after a while, and once."""
    rig, link, outer, enrolment = inside(2)
    number = link.call(enrolment)
    rig.run()
    holder = rig.core(3 - link.core)
    link.claim(number, within=outer)
    rig.run()
    assert holder.recalls == 0
    rig.after(3 * RECALL_NS / 1e9)
    assert holder.recalls == 1
    rig.after(1.0)
    assert holder.recalls == 1
    finish_all(rig, outer)


def test_a_claim_is_over_when_its_process_is_gone(inside):
    """The token waits like any other."""
    rig, link, outer, enrolment = inside(2)
    keeper = work("keeper")
    rig.run()
    rig.engine.control.pause_admission(paused=True)
    number = link.call(enrolment)
    rig.run()
    link.claim(number)  # a thread of the user's own
    rig.run()
    assert rig.nested.claims.pending
    rig.backend.exit(link)
    rig.run()
    assert not rig.nested.claims.pending
    rig.engine.control.pause_admission(paused=False)
    rig.come_up()
    rig.perform_all()
    assert outer.done()
    assert keeper.done()
    rig.check_nothing_left()


def test_a_limit_holds_a_claim_back_while_others_of_it_go_on(inside):
    """And lets it through when all that it counts would wait for it for ever."""
    rig, link, outer, enrolment = inside(function=limited)
    first = link.call(enrolment, 1)
    second = link.call(enrolment, 2)
    rig.run()
    assert first in link.held
    assert second not in link.held
    link.begin(first)
    link.claim(second, within=outer)
    rig.run()
    assert second not in link.held, "the first one will end"
    link.claim(second, within=first)
    rig.run()
    assert second in link.held, "the first one waits for it"
    link.begin_on_top(second, below=first)
    rig.run()
    link.finish(second)
    rig.run()
    link.finish(first)
    rig.run()
    finish_all(rig, outer)


def test_whoever_waits_is_told_what_its_token_depends_on(inside):
    """So that its thread can run that first."""
    rig, link, outer, enrolment = inside()
    rig.engine.control.pause_admission(paused=True)
    first = link.call(enrolment, 1)
    second = link.call(enrolment, needs=[first])
    link.claim(second, within=outer)
    rig.run()
    assert link.hints == {second: [(first, "work")]}
    rig.engine.control.pause_admission(paused=False)
    link.claim(first, within=outer)
    rig.run()
    link.perform(first)
    rig.run()
    link.perform(second)
    rig.run()
    finish_all(rig, outer)


def test_a_token_on_top_of_another_is_lost_with_its_process(inside):
    """So is the one below; what it was run again for is not."""
    rig, link, outer, enrolment = inside()
    number = link.call(enrolment)
    link.claim(number, within=outer)
    rig.run()
    link.begin_on_top(number, below=outer)
    rig.run()
    rig.backend.exit(link)
    rig.run()
    assert outer.stage is TokenState.FAILED
    assert rig.scheduler.accounts.unended_count == 0
    rig.come_up()
    rig.check_nothing_left()


def test_a_token_in_a_result_is_an_ordinary_one_from_then_on(inside):
    """Whoever has the result can await it, and it is answered for as long as it is referred to."""
    rig, link, outer, enrolment = inside()
    number = link.call(enrolment, 3)
    rig.run()
    token = rig.nested.show(number)
    assert not token.done()
    link.perform(number)
    rig.run()
    assert token.result() == (3,)
    link.want(number)  # it was dropped in there, which is heard later
    link.forget_tokens(number)
    rig.run()
    assert number in rig.peers.of(link).kept
    finish_all(rig, outer)


def test_a_process_that_finds_a_token_is_told_what_became_of_it(inside):
    """Whether that has ended already or ends later; of an unknown one, that it is lost."""
    rig, link, outer, enrolment = inside(2)
    other = rig.core(3 - link.core)
    first, second = link.call(enrolment, 1), link.call(enrolment, 2)
    rig.run()
    rig.holder(rig.nested.show(first)).finish(first, 10)
    rig.run()
    other.want(first)
    other.want(second)
    other.want(12345 << 40)
    rig.run()
    assert other.answers[first][0].value == 10
    assert other.answers[12345 << 40][0].kind == RAISED
    assert second not in other.answers
    rig.holder(rig.nested.show(second)).finish(second, 20)
    rig.run()
    assert [answer.value for answer in other.answers[second]] == [20]
    assert {answer.kind for answer in other.answers[second]} == {VALUE}
    finish_all(rig, outer)


def test_a_process_may_ask_for_the_end_of_a_token(inside):
    """Which ends as if the caller had asked."""
    rig, link, outer, enrolment = inside()
    number = link.call(enrolment)
    rig.run()
    token = rig.nested.show(number)
    link.ask_kill(number, "from inside")
    rig.run()
    assert isinstance(token.exception(), TokenKilled)
    assert token.exception().reason == "from inside"
    link.heed()
    rig.run()
    finish_all(rig, outer)


def test_a_result_may_refer_to_tokens(inside):
    """They are kept for as long as it is."""
    rig, link, outer, enrolment = inside()
    number = link.call(enrolment, 1)
    link.carry(outer, number)
    rig.run()
    assert rig.nested.referring
    link.finish(outer, [1])
    link.forget_tokens(number)
    rig.run()
    assert outer.result() == [1]
    rig.perform_all()
    finish_all(rig, outer)


def test_a_member_of_a_chain_is_on_its_core_already(inside):
    """It counts there, and with the chain; lost unbegun it goes to the next process of the core."""
    rig, link, outer, enrolment = inside(2, function=double)
    member = link.link(enrolment, 4, lead=outer)
    begun = link.link(enrolment, 5, lead=outer, begun=outer.number)
    rig.run()
    assert rig.scheduler.accounts.held_count(link.core) == 3
    shown = rig.nested.show(member)
    rig.backend.exit(link)
    rig.run()
    assert outer.stage is TokenState.FAILED
    assert shown.stage is TokenState.WAITING
    assert begun not in rig.scheduler._conductor.members
    rig.come_up(link.core)
    assert rig.core(link.core).held == [member]
    rig.perform_all()
    assert shown.result() == 8
    rig.check_nothing_left()


def test_a_second_claimant_is_told_too_what_its_token_depends_on(inside):
    """The process that claims last is to run it, and needs to know what to begin before."""
    rig, link, outer, enrolment = inside(2)
    need = link.call(enrolment, 1)
    token = link.call(enrolment, 2, needs=[need])
    rig.run()
    link.claim(token, within=outer)
    rig.run()
    assert link.hints[token] == [(need, "work")]
    other = rig.core(3 - link.core)
    other.want(token)
    other.claim(token)
    rig.run()
    assert other.hints[token] == [(need, "work")]
    finish_all(rig, outer)


def test_a_token_that_runs_is_not_called_back(inside):
    """Its process would have to tell that it cannot give it back."""
    rig, link, outer, enrolment = inside(2)
    number = link.call(enrolment)
    rig.run()
    holder = rig.core(3 - link.core)
    holder.begin(number)
    link.claim(number, within=outer)
    rig.run()
    rig.after(3 * RECALL_NS / 1e9)
    assert holder.recalls == 0
    holder.finish(number)
    rig.run()
    finish_all(rig, outer)


def granted(rig, link, outer, enrolment):
    """Make tokens inside `outer` that are claimed before they are sent, and many: their numbers."""
    rig.engine.control.pause_admission(paused=True)
    numbers = [link.call(enrolment, n) for n in range(20 * LOOKED_OVER)]
    for number in numbers:
        link.claim(number, within=outer)
    rig.run()
    rig.engine.control.pause_admission(paused=False)
    rig.run()
    assert set(rig.nested.claims.granted) == set(numbers)
    return numbers


def finish_many(rig, outer):
    """Finish everything, and take turns until all granted claims have been looked over."""
    rig.perform_all()
    for _ in range(20):
        work()
        rig.run()
        rig.perform_all()
    finish_all(rig, outer)


def test_a_granted_claim_is_pending_again_once_its_token_was_given_back(inside):
    """It is granted anew, and the token is sent to its claimant again."""
    rig, link, outer, enrolment = inside()
    first, *rest = granted(rig, link, outer, enrolment)
    rig.engine.control.pause_admission(paused=True)
    link.give_back(first)
    rig.run()
    assert set(rig.nested.claims.pending) == {first}
    assert set(rig.nested.claims.granted) == set(rest)
    rig.engine.control.pause_admission(paused=False)
    rig.run()
    assert not rig.nested.claims.pending
    assert first in link.held
    finish_many(rig, outer)


def test_a_granted_claim_is_pending_again_while_its_token_waits_to_be_run_again(inside):
    """A token that failed and is run again goes to whoever claims it."""
    rig, link, outer, enrolment = inside(function=retried)
    first, *rest = granted(rig, link, outer, enrolment)
    link.fail(first, ValueError())
    rig.run()
    assert set(rig.nested.claims.pending) == {first}
    assert set(rig.nested.claims.granted) == set(rest)
    rig.after(4.0)
    assert not rig.nested.claims.pending
    assert first in link.held
    finish_many(rig, outer)
