"""Exclusive tokens in real processes: what runs, in which thread, in which order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import alone_work as work
import gates
import pytest

from tokengate_mp import OperationsCoordinator, TokenGateExecutor, TokenKilled, TokenState


@pytest.fixture
def gate():
    """A gate that lets everybody pass in the end."""
    with gates.Gate() as gate:
        yield gate


def test_an_exclusive_token_waits_for_those_before_and_holds_those_behind(gate):
    """It begins after what has begun, and nothing that came later begins before it has ended."""
    with OperationsCoordinator(cores=1, threads_per_core=4):
        before = [work.shared(gate.address, f"before {n}") for n in range(2)]
        assert set(gate.names(2)) == {"before 0", "before 1"}
        alone = work.alone(gate.address, "alone")
        behind = [work.shared(gate.address, f"behind {n}") for n in range(2)]
        gate.open("before 0")
        before[0].get(20)
        assert alone.state is not TokenState.EXECUTING
        gate.open("before 1")
        assert gate.names() == ["alone"], "and no other came meanwhile"
        assert [token.state for token in behind].count(TokenState.EXECUTING) == 0
        gate.open("alone")
        assert alone.get(20), "in the main thread"
        assert set(gate.names(2)) == {"behind 0", "behind 1"}
        gate.open()
        assert [token.done() or token.get(20) is not None for token in behind] == [True] * 2


def test_plain_functions_are_exclusive_and_decorated_ones_are_what_they_say(gate):
    """By `submit` and `map` of a coordinator: one after the other, in the main thread."""
    with OperationsCoordinator(cores=1, threads_per_core=4) as coordinator:
        plain = [coordinator.submit(work.thread_and_wait, gate.address, str(n)) for n in range(3)]
        for n in range(3):
            assert gate.names() == [str(n)]
            gate.open()
            assert plain[n].get(20)
        said = [coordinator.submit(work.shared, gate.address, str(n)) for n in range(3)]
        assert set(gate.names(3)) == {"0", "1", "2"}
        gate.open()
        assert len([token.get(20) for token in said]) == 3
        maps = [
            lambda: coordinator.map(work.thread_and_wait, [gate.address] * 2, "ab"),
            lambda: work.alone.map([gate.address] * 2, "ab"),
        ]
        with ThreadPoolExecutor(1) as reader:  # as items are sent while results are asked for
            for mapped in maps:
                results = reader.submit(list, mapped())
                for name in "ab":
                    assert gate.names() == [name]
                    gate.open()
                assert results.result(20) == [True, True]


def test_calls_of_executors_are_exclusive_unless_they_are_decorated(gate):
    """Whatever threads it has, as in a standard executor; a decorated function overlaps."""
    with TokenGateExecutor(1, threads_per_core=4) as executor:
        plain = [executor.submit(work.thread_and_wait, gate.address, str(n)) for n in range(2)]
        for n in range(2):
            assert gate.names() == [str(n)]
            gate.open()
            assert plain[n].result(20)
        decorated = [executor.submit(work.shared, gate.address, str(n)) for n in range(4)]
        assert set(gate.names(4)) == set("0123")
        gate.open()
        assert len([future.result(20) for future in decorated]) == 4


@pytest.mark.parametrize("threads", [1, 4])
def test_tokens_begin_with_the_context_that_the_initializer_left(threads):
    """Also decimal's; what one sets is not seen by the next. The thread's own is the main one's."""
    with OperationsCoordinator(
        cores=1, threads_per_core=threads, initializer=work.prepare
    ) as coordinator:
        for token in [coordinator.submit(work.surroundings) for _ in range(5)]:
            assert token.get(20) == (50, "prepared", "main")
        for token in [work.seen() for _ in range(20)]:
            assert token.get(20)[:2] == (50, "prepared")
        alone = work.seen.options(exclusive=True)
        assert {alone().get(20) for _ in range(5)} == {(50, "prepared", "main")}


def test_what_lies_behind_an_exclusive_token_goes_to_a_core_that_is_idle(gate):
    """Late binding holds: what was sent to its core is recalled, and runs elsewhere."""
    with OperationsCoordinator(cores=2, threads_per_core=4):
        long = work.alone.options(weight="heavy")(gate.address, "long")
        assert gate.names() == ["long"]
        others = [work.seen.options(weight="heavy")() for _ in range(8)]
        assert [token.get(20)[1] for token in others] == ["unset"] * 8
        assert {token.core for token in others} == {3 - long.core}
        assert long.state is TokenState.EXECUTING
        gate.open()
        assert long.get(20)


@pytest.mark.parametrize("state", ["waiting for its turn", "running"])
def test_an_exclusive_token_that_is_killed_lets_others_go_on(gate, state):
    """Before it has begun, or while it runs."""
    with OperationsCoordinator(cores=1, threads_per_core=2) as coordinator:
        if state == "running":
            alone = work.alone(gate.address, "alone")
            assert gate.names() == ["alone"]
        else:
            before = work.shared(gate.address, "before")
            assert gate.names() == ["before"]
            alone = work.alone(gate.address, "alone")
        behind = work.shared(gate.address, "behind")
        alone.kill("enough")
        with pytest.raises(TokenKilled):
            alone.get(20)
        gate.open()
        if state != "running":
            before.get(20)
        assert gate.names() == ["behind"]
        gate.open()
        behind.get(20)
        assert coordinator.get_stats()["cores"][0]["restarts"] == 0
