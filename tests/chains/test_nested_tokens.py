"""Tokens made inside tokens."""

from __future__ import annotations

import asyncio
import gc

import gates
import pytest
import recursion
import scripts

from tokengate_mp import OperationsCoordinator, TokenKilled, TokenState, WorkerLost

SIZES = [(1, 1), (1, 4), (2, 1), (3, 2)]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def coordinator(request):
    """A coordinator of some size, down to a single thread; nothing may be left in it."""
    cores, threads = request.param
    with OperationsCoordinator(cores=cores, threads_per_core=threads) as running:
        yield running


@pytest.fixture
def small():
    """A coordinator with two cores."""
    with OperationsCoordinator(cores=2, threads_per_core=2) as running:
        yield running


def remains(coordinator):
    """What the parent still keeps of tokens that were made inside tokens."""
    engine = coordinator._run.engine

    def look():
        living = engine._receiver._peers.values()
        return (
            sum(len(each.kept) + len(each.begun) + len(each.carried) for each in living),
            len(engine._nested_tokens.claims.pending),
        )

    return coordinator._run.host.call(look)


@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        (recursion.fib, 12, 144),
        (recursion.merge_sort, [n * 37 % 101 for n in range(101)], list(range(101))),
        (recursion.fan_out, 1500, 1500 * 1501 // 2),
        (recursion.descend, 120, 120),
        (recursion.in_threads, 20, 210),
        (recursion.same_token, 8, 9 * 42),
    ],
    ids=lambda value: getattr(value, "operation_type", ""),
)
def test_no_shape_of_nesting_deadlocks(coordinator, function, argument, expected):
    """Deep, wide or in threads: it ends, with however few cores and threads."""
    assert function(argument).get(50) == expected


def test_ten_thousand_in_one_token(small):
    """A token may make and await as many as it likes."""
    assert recursion.fan_out(10_000).get(50) == 50_005_000


def test_deeper_than_the_stack(small):
    """Nesting goes deeper than a thread's stack of Python frames."""
    assert recursion.descend(1200).get(50) == 1200


def test_many_that_nest_at_once(small):
    """Trees that grow side by side do not starve each other."""
    tokens = [recursion.fib(7) for _ in range(40)]
    assert [token.get(50) for token in tokens] == [13] * 40


def test_a_strict_range_does_not_deadlock():
    """A token that is waited for is run by who waits, also outside of its weight's range."""
    with OperationsCoordinator(cores=3, threads_per_core=1, routing="strict"):
        assert recursion.fib.options(weight="heavy")(8).get(50) == 21


def test_stats_count_them(small):
    """The parent counts tokens made inside tokens as it counts all others."""
    assert recursion.fan_out(50).get(20) == 1275
    stats = small.get_stats()
    assert stats["operations"]["plus_one"]["counts"]["completed"] == 50
    assert stats["tokens"]["completed"] == 51


def test_join_waits_for_them():
    """A token nobody waits for is still run before the coordinator's block ends."""
    with OperationsCoordinator(cores=1) as coordinator:
        recursion.forgets(30)
    assert coordinator.get_stats()["tokens"]["completed"] == 31


def test_what_it_tells(small):
    """A token made inside another one has the parent's id for it, and a state."""
    with gates.Gate() as gate:
        token = recursion.status_of_held(gate.address)
        gate.arrivals()
        gate.open()
        token_id, states, done = token.get(20)
    assert token_id.partition("-")[0] == token.token_id.partition("-")[0]
    assert states == ["waiting", "completed"]
    assert done


def test_what_the_child_raised(small):
    """The child's exception arrives as itself, with the traceback as its cause."""
    assert recursion.catches("as said").get(20) == ("as said", "RemoteTraceback")


def test_awaiting_the_child(small):
    """It says what to do instead."""
    assert "wait for it with get()" in recursion.awaits(1).get(20)


def test_a_child_is_run_again(coordinator, tmp_path):
    """A child with retries that fails is run again, and who waits for it gets the result."""
    assert recursion.retries(str(tmp_path / "runs")).get(20) == "3 runs"


def test_a_child_has_a_time_limit(small):
    """A child's own time limit ends it, and who waits for it learns so."""
    assert recursion.waits_for_slow(0.05).get(20) == "TokenTimeout"


def test_killing_the_one_that_waits(small):
    """A token that waits for another one is interrupted in its wait, and its process lives on."""
    with gates.Gate() as gate:
        pids = {core["pid"] for core in small.get_stats()["cores"]}
        tokens = [recursion.waits_twice(gate.address) for _ in range(3)]
        gate.arrivals(3)
        for token in tokens:
            token.kill("enough")
        gate.open()
        for token in tokens:
            with pytest.raises(TokenKilled):
                token.get(20)
    assert recursion.fib(5).get(20) == 5
    assert {core["pid"] for core in small.get_stats()["cores"]} == pids


@pytest.mark.parametrize("end", ["kill", "cancel"])
def test_a_recursion_without_an_end_goes_with_its_first_token(coordinator, end):
    """Who waits for a token that waits for another …: what only an ended token wants ends too."""
    with gates.Gate() as gate:
        first = recursion.bottomless(gate.address, 0)
        gate.arrivals()
        assert getattr(first, end)()
        assert recursion.plus_one(1).get(20) == 2
        asyncio.run_coroutine_threadsafe(coordinator.join(), coordinator._run.host.loop).result(30)
        stats = coordinator.get_stats()
        assert stats["tokens"]["waiting"] == stats["tokens"]["executing"] == 0
        assert stats["operations"]["bottomless"]["counts"]["killed"] > 100


def test_what_others_want_too_does_not_go_with_the_one_that_waits():
    """Only what the ended token alone waits for ends with it."""
    with (
        OperationsCoordinator(cores=1, threads_per_core=4, grace=20) as coordinator,
        gates.Gate() as gate,
        gates.Gate() as begun,
    ):
        recursion.leave_there(gate.address).get(20)
        gate.arrivals()
        killed = recursion.wait_for_left(begun.address)
        other = recursion.wait_for_left(begun.address)
        begun.arrivals(2)
        waiters = coordinator._run.engine._nested_tokens.claims._waits._waiters
        while coordinator._run.host.call(lambda: sum(map(len, waiters.values()))) < 2:
            pass  # they are about to
        assert killed.kill("enough")
        gate.open()
        assert other.get(20) == "opened"


def test_what_several_wait_for_goes_with_the_last_of_them():
    """Each of them, when it was ended, was not the only one."""
    with (
        OperationsCoordinator(cores=1, threads_per_core=4, grace=20) as coordinator,
        gates.Gate() as gate,
        gates.Gate() as begun,
    ):
        recursion.leave_there(gate.address).get(20)
        gate.arrivals()
        waiting = [recursion.wait_for_left(begun.address) for _ in range(3)]
        begun.arrivals(3)
        waiters = coordinator._run.engine._nested_tokens.claims._waits._waiters
        while coordinator._run.host.call(lambda: sum(map(len, waiters.values()))) < 3:
            pass  # they are about to
        for token, gone in zip(waiting, (0, 0, 1), strict=True):
            assert token.kill("enough")
            counts = coordinator.get_stats()["operations"]["gated"]["counts"]
            assert counts["killed"] == gone
        gate.open()
        assert recursion.plus_one(1).get(20) == 2


def test_what_a_result_refers_to_does_not_go_with_one_that_looked_at_it():
    """The caller has the result as well, and may look at it yet."""
    with (
        OperationsCoordinator(cores=2) as coordinator,
        gates.Gate() as begun,
        gates.Gate() as held,
    ):
        given = recursion.hand_over(held.address)
        holder = recursion.hold_and_spin(begun.address, given)
        held.arrivals()
        begun.arrivals()
        assert holder.kill("enough")
        assert recursion.plus_one(1).get(20) == 2
        held.open()
        (token,) = given.get(20)
        assert token.get(20) == "handed over"
        assert coordinator.get_stats()["tokens"]["killed"] == 1


def test_what_is_run_without_a_claim_goes_with_the_one_that_waits():
    """A token that lay in the same process when it was waited for ends as any other one does."""
    with (
        OperationsCoordinator(cores=1, threads_per_core=1) as coordinator,
        gates.Gate() as first,
        gates.Gate() as held,
    ):
        waiter = recursion.dawdle_and_wait(first.address, held.address)
        first.arrivals()
        while (core := coordinator.get_stats()["cores"][0])["queued"] < 2:
            pass  # what it has made is on its way there
        first.open()
        held.arrivals()
        assert waiter.kill("enough")
        with pytest.raises(TokenKilled):
            waiter.get(20)
        assert recursion.plus_one(1).get(20) == 2
        stats = coordinator.get_stats()
        assert stats["operations"]["spinning"]["counts"]["killed"] == 1
        assert stats["cores"][0]["pid"] == core["pid"]  # its process was not ended for it


@pytest.mark.parametrize(
    ("function", "goes_along"), [(recursion.keep_and_spin, True), (recursion.leave_and_spin, False)]
)
def test_what_only_an_ended_token_refers_to_ends_with_it(function, goes_along):
    """What it has made and kept, that is; what it had let go of before goes on."""
    with (
        OperationsCoordinator(cores=2) as coordinator,
        gates.Gate() as begun,
        gates.Gate() as held,
    ):
        maker = function(begun.address, held.address)
        begun.arrivals()
        held.arrivals()
        assert maker.kill("enough")
        with pytest.raises(TokenKilled):
            maker.get(20)
        counts = coordinator.get_stats()["operations"]["spinning"]["counts"]
        if goes_along:
            while not counts["killed"]:
                counts = coordinator.get_stats()["operations"]["spinning"]["counts"]
        else:
            assert recursion.plus_one(1).get(20) == 2
            held.open()
    asked = coordinator.get_stats()["operations"]["spinning"]["counts"]
    assert (asked["killed"], asked["completed"]) == ((1, 0) if goes_along else (0, 1))


def test_get_with_a_timeout():
    """A wait that takes too long ends, and the token goes on."""
    with (
        gates.Gate() as gate,
        OperationsCoordinator(cores=2, threads_per_core=2) as coordinator,
    ):
        # The first one is held by another core, and so cannot be run by the thread that waits.
        blocker = recursion.wait_for_held(gate.address, 0.05)
        arrivals = gate.arrivals()
        if arrivals[0].name == "child":
            gate.open()
        try:
            assert blocker.get(20) == "child"
        except TimeoutError:
            pass
        assert coordinator.get_stats()["tokens"]["executing"] <= 1


def test_killing_the_child():
    """A token can kill one that it has made."""
    with gates.Gate() as gate, OperationsCoordinator(cores=1, threads_per_core=1):
        name, state = recursion.kills_child(gate.address).get(20)
    assert (name, state) == ("TokenKilled", "killed")


def test_what_is_larger_than_the_ring():
    """Arguments and results of any size travel, up and down."""
    with OperationsCoordinator(cores=2, ring_bytes=4096):
        assert recursion.large(100_000).get(30) == 200_000


def test_a_fork_of_a_core_process_cannot_call(small):
    """The mailbox is its parent's: a call in a fork is refused."""
    assert recursion.forks().get(20) == 7


async def test_children_in_a_result():
    """The caller gets Tokens for the tokens in a result, and awaits them like any other."""
    async with OperationsCoordinator(cores=2) as coordinator:
        found = (await recursion.children(5))["all"]
        assert await asyncio.gather(*found) == [1, 2, 3, 4, 5]
        assert {token.operation_type for token in found} == {"plus_one"}
        assert all(token.state is TokenState.COMPLETED for token in found)
        found = await recursion.grandchildren(5)
        assert await asyncio.gather(*found) == [1, 2, 3, 4, 5]
        del found
        await recursion.forgets(0)
        await coordinator.join()


def test_children_in_a_result_without_a_loop(small):
    """The same in a plain script."""
    assert [token.get(20) for token in recursion.children(3).get(20)["all"]] == [1, 2, 3]


def test_nothing_is_kept(small):
    """When nobody refers to them any more, the parent keeps nothing of all those tokens."""
    for _ in range(3):
        assert recursion.fan_out(200).get(20) == 20_100
        [token.get(20) for token in recursion.grandchildren(20).get(20)]
    recursion.forgets(200).get(20)
    asyncio.run_coroutine_threadsafe(small.join(), small._run.host.loop).result(20)
    # A core says what it has dropped when it next rings.
    for _ in range(50):
        [recursion.plus_one(n) for n in range(4)][-1].get(20)
        if remains(small) == (0, 0):
            break
    gc.collect()
    assert remains(small) == (0, 0)
    assert len(small._run.engine._nested_tokens._known) == 0


def test_functions_of_main_do_not_multiply(tmp_path):
    """Functions that travel by value call each other across cores, and stay few."""
    code = """
        from tokengate_mp import OperationsCoordinator, task_token_guard

        @task_token_guard()
        def ping(n):
            return [n] if n == 0 else [n, *pong(n - 1).get()]

        @task_token_guard()
        def pong(n):
            return [n] if n == 0 else [n, *ping(n - 1).get()]

        with OperationsCoordinator(cores=2) as coordinator:
            tokens = [ping(6) for _ in range(40)]
            assert all(token.get(30) == [6, 5, 4, 3, 2, 1, 0] for token in tokens)
            print(len(coordinator._run.engine.intake.functions.known))
    """
    assert int(scripts.output(tmp_path / "pingpong.py", code)) <= 4


def test_a_core_that_dies_under_nested_tokens(small):
    """Every token on the stack of a thread of it is lost; all others, and the core, go on."""
    token = recursion.waits_for_exit(3)
    try:
        assert token.get(20) == "WorkerLost"  # the child ran on the other core
    except WorkerLost:
        pass
    assert recursion.fib(6).get(30) == 8


def test_exactly_what_was_running_is_lost():
    """Of a chain of waits all members end as lost, and what was queued behind them is run."""
    with OperationsCoordinator(cores=1, threads_per_core=1) as coordinator:
        token = recursion.waits_for_exit(3)
        others = [recursion.plus_one(n) for n in range(20)]
        with pytest.raises(WorkerLost):
            token.get(20)
        assert [other.get(20) for other in others] == list(range(1, 21))
        counts = coordinator.get_stats()["operations"]
        assert counts["exits"]["counts"]["failed"] == 1
        assert counts["plus_one"]["counts"]["completed"] == 20
        assert counts["plus_one"]["counts"]["failed"] == 0


def test_stopping_under_nested_tokens():
    """Nothing is left waiting when the coordinator stops."""
    with gates.Gate() as gate:
        with OperationsCoordinator(cores=1) as coordinator:
            token = recursion.wait_for_held(gate.address)
            gate.arrivals()
            coordinator.stop()
        with pytest.raises(TokenKilled):
            token.get(5)
