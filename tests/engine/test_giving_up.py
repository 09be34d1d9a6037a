from __future__ import annotations

from engine_work import lead, sticky, work

from tokengate_mp import CoreStartError, DependencyFailed, InitializerFailed, TokenState
from tokengate_mp.wire.protocol.failures import failure


def test_tokens_that_may_run_nowhere_end(make_rig):
    """With the reason of the last core; and so does each that comes later."""
    rig = make_rig(2)
    token = work()
    rig.run()
    for number in (1, 2):
        rig.backend.exit(rig.core(number), restart=False)
    rig.backend.give_up(1, "one reason")
    rig.run()
    assert not token.done(), "there is another core, which may come back"
    rig.backend.give_up(2, "another reason")
    rig.run()
    assert isinstance(rig.error_of(token), CoreStartError)
    assert "core 2: another reason" in str(rig.error_of(token))
    later = work()
    rig.run()
    assert isinstance(rig.error_of(later), CoreStartError)
    rig.check_nothing_left()


def test_tokens_that_depend_on_them_end_as_well(make_rig):
    """At once, and not with the next look at what may have been missed."""
    rig = make_rig(up=False)
    first = work()
    second = work(first)
    rig.run()
    rig.backend.exit(rig.core(), restart=False)
    rig.backend.give_up(1, "a reason")
    rig.run()
    assert isinstance(rig.error_of(first), CoreStartError)
    assert isinstance(rig.error_of(second), DependencyFailed)
    rig.check_nothing_left()


def test_others_go_on(make_rig):
    """With work-conserving routing any core may run any token."""
    rig = make_rig(2)
    tokens = [work(n) for n in range(4)]
    rig.run()
    rig.backend.exit(rig.core(1), restart=False)
    rig.backend.give_up(1, "a reason")
    rig.run()
    rig.perform_all()
    assert [token.result() for token in tokens] == [(n,) for n in range(4)]
    rig.check_nothing_left()


def test_only_the_classes_of_its_range_end_when_routing_is_strict(make_rig):
    """Those that another core serves are run there."""
    rig = make_rig(2, routing="strict")
    heavy = work.options(operation_type="heavy", weight="heavy")
    rig.backend.exit(rig.core(2), restart=False)
    rig.backend.give_up(2, "a reason")
    tokens = [work(), heavy()]
    rig.run()
    assert isinstance(rig.error_of(tokens[0]), CoreStartError)
    assert tokens[1].stage is TokenState.ADMITTED


def test_a_refusal_of_the_initializer_is_told(make_rig):
    """As the cause, with what it raised."""
    rig = make_rig()
    token = work()
    rig.run()
    rig.backend.exit(rig.core(), restart=False)
    rig.backend.give_up(1, "never up", failure(LookupError("no table")))
    rig.run()
    error = rig.error_of(token)
    assert isinstance(error, InitializerFailed)
    assert "LookupError: no table" in str(error)
    assert isinstance(error.__cause__, LookupError)


def test_keys_and_chains_of_its_core_go_elsewhere(make_rig):
    """As a whole each, and those that come later follow."""
    rig = make_rig(2)
    same, leading = sticky("a"), lead()
    rig.run()
    gone = rig.holder(same)
    rig.backend.exit(gone, restart=False)
    rig.backend.give_up(gone.core, "a reason")
    more = sticky("a")
    rig.run()
    left = 3 - gone.core
    assert (same.core, more.core) == (left, left)
    rig.perform_all()
    assert leading.done()
    rig.check_nothing_left()


def test_a_key_goes_elsewhere_while_a_process_that_drains_holds_its_tokens(make_rig):
    """The core was given up for its next process: what comes later does not wait for that."""
    rig = make_rig(2, max_tokens_per_core=1, exact=True)
    first = sticky("a")
    rig.run()
    old = rig.begun(first)
    rig.backend.cannot_replace(old.core)
    rig.run()
    assert old.seat > 2
    later = sticky("a")
    rig.run()
    assert later.core == 3 - old.core
    old.finish(first, "well")
    rig.run()
    assert first.result() == "well"
    rig.holder(later).finish(later)
    rig.run()
    rig.check_nothing_left()


def test_what_it_finished_is_settled_first(make_rig):
    """Though it is given up in the same moment."""
    rig = make_rig()
    finished, unbegun = work(1), work(2)
    rig.run()
    rig.core().finish(finished, "well")
    rig.backend.exit(rig.core(), restart=False)
    rig.backend.give_up(1, "a reason")
    rig.run()
    assert finished.result() == "well"
    assert isinstance(rig.error_of(unbegun), CoreStartError)
    rig.check_nothing_left()
