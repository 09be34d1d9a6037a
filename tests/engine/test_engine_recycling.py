from __future__ import annotations

import logging

import psutil
import pytest
from engine_work import lead, sticky, work
from fakes import MS

from tokengate_mp import CoreStartError, TokenState, WorkerLost
from tokengate_mp.config.settings import LEAST_RSS


def test_a_process_that_has_run_its_tokens_is_replaced_while_it_is_well(make_rig):
    """Its successor is started, comes up beside it, and takes over; it finishes what it runs."""
    rig = make_rig(max_tokens_per_core=2)
    tokens = [work(n) for n in range(4)]
    rig.run()
    old = rig.core()
    for token in tokens[:2]:
        old.finish(token)
    rig.run()
    successor = rig.backend.successor(1)
    old.begin(tokens[2])
    rig.after(1.0)
    assert rig.core() is old, "until the other one is up"
    successor.come_up()
    rig.run()
    assert rig.core() is successor
    assert old.recalls == 1
    assert old.seat > 1
    old.give_back()
    rig.run()
    assert successor.held == [tokens[3].number]
    assert rig.backend.dismissed == []
    old.finish(tokens[2], "well")
    rig.run()
    assert tokens[2].result() == "well"
    assert rig.backend.dismissed == [old]
    rig.backend.exit(old, 0)
    rig.perform_all()
    assert tokens[3].result() == (3,)
    rig.check_nothing_left()


def test_a_relieved_process_that_holds_nothing_leaves_at_once(make_rig):
    """It is not asked for anything."""
    rig = make_rig(max_tokens_per_core=1)
    token = work()
    rig.run()
    old = rig.core()
    old.finish(token)
    rig.run()
    rig.backend.successor(1).come_up()
    rig.run()
    assert (rig.backend.dismissed, old.recalls) == ([old], 0)
    rig.backend.exit(old, 0)
    assert rig.backend.recycled == {1: 1}
    rig.check_nothing_left()


def test_a_relieved_process_may_die(make_rig):
    """What it ran is lost, what it had not begun goes to the process of its core."""
    rig = make_rig(max_tokens_per_core=1)
    tokens = [work(n) for n in range(3)]
    rig.run()
    old = rig.core()
    old.finish(tokens[0])
    old.begin(tokens[1])
    rig.run()
    rig.backend.successor(1).come_up()
    rig.run()
    rig.backend.exit(old, -9)
    rig.run()
    assert isinstance(rig.error_of(tokens[1]), WorkerLost)
    assert rig.core().held == [tokens[2].number]
    rig.perform_all()
    rig.check_nothing_left()


def test_a_process_may_die_while_its_successor_gets_ready(make_rig):
    """The successor then is its replacement."""
    rig = make_rig(max_tokens_per_core=1)
    tokens = [work(n) for n in range(2)]
    rig.run()
    old = rig.core()
    old.finish(tokens[0])
    rig.run()
    successor = rig.backend.successor(1)
    rig.backend.exit(old)
    assert rig.core() is successor
    assert tokens[1].stage is TokenState.WAITING
    successor.come_up()
    rig.run()
    assert successor.held == [tokens[1].number]


def test_with_an_exact_limit_no_process_is_sent_more(make_rig):
    """Its core waits for the next one, if that is late."""
    rig = make_rig(max_tokens_per_core=2, exact=True)
    tokens = [work(n) for n in range(5)]
    rig.run()
    assert len(rig.core().held) == 2
    for _ in range(2):
        old = rig.core()
        for number in old.held:
            old.finish(number)
        rig.run()
        assert old.held == []
        rig.backend.successor(1).come_up()
        rig.run()
        assert rig.core() is not old
        rig.backend.exit(old, 0)
        assert len(rig.core().held) == min(2, sum(not token.done() for token in tokens))
    rig.core().finish(tokens[4])
    rig.run()
    rig.check_nothing_left()


def test_successors_get_ready_one_after_the_other(make_rig):
    """So there is one process more than there are cores, and not twice as many."""
    rig = make_rig(2, max_tokens_per_core=1)
    tokens = [work(n) for n in range(2)]
    rig.run()
    for token in tokens:
        rig.holder(token).finish(token)
    rig.run()
    assert len(rig.backend.successors) == 1
    (first,) = rig.backend.successors
    rig.backend.successor(first).come_up()
    rig.run()
    assert list(rig.backend.successors) == [3 - first]


def test_a_process_that_cannot_be_replaced_goes_on(make_rig):
    """Beyond its limit: the tokens are worth more."""
    rig = make_rig(max_tokens_per_core=1)
    token = work()
    rig.run()
    rig.core().finish(token)
    rig.run()
    rig.backend.cannot_replace(1)
    tokens = [work(n) for n in range(5)]
    rig.run()
    rig.perform_all()
    assert all(token.done() for token in tokens)
    assert rig.backend.successors == {}
    rig.check_nothing_left()


def test_with_an_exact_limit_its_core_is_given_up(make_rig):
    """As that process may not go on."""
    rig = make_rig(max_tokens_per_core=1, exact=True)
    tokens = [work(n) for n in range(2)]
    rig.run()
    rig.backend.cannot_replace(1)
    rig.run()
    rig.backend.link(2).perform(tokens[0])
    rig.run()
    assert tokens[0].result() == (0,)
    assert isinstance(rig.error_of(tokens[1]), CoreStartError)
    rig.check_nothing_left()


@pytest.fixture
def sizes(monkeypatch):
    """Say how large processes are, by pid."""
    sizes = {}

    class Process:
        def __init__(self, pid):
            if pid not in sizes:
                raise psutil.NoSuchProcess(pid)
            self.pid = pid

        def memory_info(self):
            return type("Sizes", (), {"rss": sizes[self.pid]})

    monkeypatch.setattr(psutil, "Process", Process)
    return sizes


def test_a_process_that_has_grown_is_replaced(make_rig, sizes, caplog):
    """Once it has run a token, and is looked at, which is about once a second."""
    caplog.set_level(logging.ERROR)
    rig = make_rig(max_rss=LEAST_RSS)
    old = rig.core()
    sizes[old.pid] = LEAST_RSS + 1
    tokens = [work(n) for n in range(2)]
    rig.after(3.0)
    assert rig.backend.successors == {}
    old.finish(tokens[0])
    rig.run()
    assert rig.backend.successors == {}
    rig.after(3.0)
    rig.backend.successor(1).come_up()
    rig.run()
    assert rig.core() is not old
    old.give_back()
    rig.run()
    rig.backend.exit(old, 0)
    rig.perform_all()
    rig.check_nothing_left()


def test_what_is_pinned_stays_with_the_core(make_rig):
    """Keys and chains go to the process that has taken over."""
    rig = make_rig(2, max_tokens_per_core=2)
    leading, same = lead(), sticky("a")
    rig.run()
    at = rig.holder(leading), rig.holder(same)
    core = at[1].core
    at[1].finish(same)
    more = [sticky("a") for _ in range(2)]
    rig.run()
    rig.holder(more[0]).finish(more[0])
    rig.run()
    rig.backend.successor(core).come_up()
    rig.run()
    for link in rig.all_links():
        if link.seat > 2:
            link.give_back()
    rig.run()
    assert more[1].core == core
    assert rig.holder(more[1]) is rig.core(core)


def test_a_member_of_a_chain_may_be_made_in_a_process_that_was_relieved(make_rig):
    """It is accounted where it is, and the process stays until it has ended."""
    rig = make_rig(max_tokens_per_core=1)
    first, leading = work(), lead()
    rig.run()
    old = rig.core()
    old.begin(leading)
    old.finish(first)
    rig.run()
    rig.backend.successor(1).come_up()
    rig.run()
    enrolment = old.enrol(work)
    member = old.link(enrolment, 5, lead=leading)
    rig.run()
    old.finish(leading)
    rig.run()
    assert rig.backend.dismissed == []
    old.finish(member, ns=MS)
    old.forget_tokens(member)
    rig.run()
    assert rig.backend.dismissed == [old]
    rig.backend.exit(old, 0)
    rig.check_nothing_left()


def test_a_process_that_is_relieved_is_weighed_no_more(make_rig, sizes, caplog):
    """However large it is: it is about to leave, and its successor stands in its place."""
    caplog.set_level(logging.ERROR)
    rig = make_rig(max_rss=LEAST_RSS)
    old, tokens = rig.core(), [work(n) for n in range(3)]
    sizes[old.pid] = LEAST_RSS + 1
    rig.run()
    old.finish(tokens[0])
    old.begin(tokens[1])
    rig.after(3.0)
    successor = rig.backend.successor(1)
    successor.come_up()
    rig.run()
    sizes[successor.pid] = 1
    old.give_back()
    rig.run()
    assert successor.held == [tokens[2].number]
    successor.finish(tokens[2])
    rig.after(5.0)
    assert rig.backend.successors == {}
    assert rig.core() is successor
    old.finish(tokens[1])
    rig.run()
    rig.backend.exit(old, 0)
    rig.check_nothing_left()


def test_a_process_that_was_relieved_made_progress_only_if_excused(make_rig):
    """Whether its core's processes get anywhere is seen by the one that has the seat."""
    rig = make_rig(max_tokens_per_core=1)
    tokens = [work(n) for n in range(2)]
    rig.run()
    old = rig.core()
    old.finish(tokens[0])
    old.begin(tokens[1])
    rig.run()
    rig.backend.successor(1).come_up()
    rig.run()
    assert rig.backend.exit(old, -9) is False
    rig.run()
    rig.check_nothing_left()
